"""Imported by late_imports.py when it is asked to."""

VALUE = "sibling"
