"""The metadata graph: what nodes and edges there are, and where they are kept.

The ontology says which kinds exist, the port which verbs a store has, and two stores speak them:
SQLite, embedded, and Neo4j. What may not enter: GraphQL, HTTP, tokens, settings, and any other room
of Lineal but its errors.
"""
