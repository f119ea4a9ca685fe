"""The use cases: what can be asked of Lineal, and what can be done.

Every face (GraphQL, REST, MLflow, the command line) calls these and adds nothing of its own. What may
not enter: GraphQL, HTTP, and which store is in use.
"""
