"""Owns deliveries, tasks and the channels."""
