"""Owns people, enrollments and time."""
