"""Commands of `pyfilter` by subject. `cli.py` puts them together, and shows what goes wrong."""
