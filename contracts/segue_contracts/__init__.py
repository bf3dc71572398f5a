"""The public contract of Segue: what other teams build against."""
