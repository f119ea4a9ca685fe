"""The use cases that write: each is one transaction with one Change, or nothing at all.

`command` makes a function of a transaction into a use case, with its idempotency key; `draft` finds what
is named by address and gathers what is to be written; `story` is what versions, runs and evaluations tell
alike. The rest is one module for each noun.
"""
