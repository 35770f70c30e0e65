"""Imported by late_imports.py under a name that no statement holds."""

VALUE = "unseen"
