"""Owns sequences, mailboxes and users; the only way in for people."""
