"""What decides of versions and data: stages, gates, approvals, validations, marks, retirement.

Use cases like those of `resolvers.writing`, which they build on; the rest is one module for each of them.
"""
