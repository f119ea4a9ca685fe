"""The room of access: tokens into callers, scopes, workspace roles, and the keys that Lineal signs with.

It knows no GraphQL and no ASGI application: faces ask it who somebody is and what they may see. It reads
the graph through the store port alone.
"""
