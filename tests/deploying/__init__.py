"""Deployments that Lineal brings about."""
