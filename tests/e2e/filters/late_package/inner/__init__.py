"""The middle of it."""
