"""Lineage in the forms that others read, each held against the library or the schema of its standard."""
