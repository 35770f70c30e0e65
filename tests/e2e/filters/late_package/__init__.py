"""A package that late_imports.py imports when it is asked to."""
