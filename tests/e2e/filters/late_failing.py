"""Fails when it is imported, at run time."""

raise ValueError("failed at import")
