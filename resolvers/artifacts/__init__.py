"""The bytes of artifacts: how they come in, are looked at, go out, and are cleared away."""
