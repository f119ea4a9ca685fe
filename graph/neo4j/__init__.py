"""The production store: Neo4j 5.26 or newer, one statement for each verb, one record for each statement.

It scales out on Neo4j's own cluster (neo4j:// routing, bookmarks). Neo4j is read-committed; a snapshot
pins one moment by the times in the data. What may not enter: values inside statement texts. Labels,
types and bounds come from the ontology and from whole numbers that were checked.
"""
