"""The embedded store: one SQLite file, write-ahead log, integer keys, breadth-first walks by level.

Several processes of one host may share the file. What may not enter: anything that SQLite 3.40, the
oldest of the supported Pythons, does not know.
"""
