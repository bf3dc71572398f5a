"""Owns what an answer is."""
