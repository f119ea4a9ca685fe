"""Deployments that Lineal brings about itself: what they shall serve, and the reconciler that sees to it."""
