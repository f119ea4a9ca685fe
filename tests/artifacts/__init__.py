"""The bytes of artifacts, through use cases and through the server."""
