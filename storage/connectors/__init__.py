"""Data that stays where it is, and how it is reached: only by connectors that an administrator configured.

A URI becomes a Reference by a connector whose prefixes allow it and that the workspace may use; nothing else is
ever connected to. Each kind of store is a Backend.
"""
