"""Serving platforms: what each is told, and what each is seen to do.

The port (one small contract), one adapter in a file of its own for each platform, and how files come to where a
platform's servers read them. It knows nothing of the graph, of who asks, or of when to act: resolvers decide that.
"""
