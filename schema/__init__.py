"""The GraphQL face: types, inputs, limits on documents, and the HTTP view.

It turns documents into calls of `resolvers` and reads of `graph.port.Snapshot`, batched, and nothing
else. What may not enter: rules of the registry (they are in `resolvers`), which store is in use, tokens.
"""
