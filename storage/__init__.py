"""Where bytes are: artifacts kept by content, and data that stays where it is.

The port and its two stores (a local folder, S3), connectors to what is kept elsewhere, and what can be told of
files without executing any of them. It knows nothing of the graph, of who asks, or of HTTP.
"""
