"""Tracking servers: where runs were logged before Lineal heard of what they made. They are read, never written."""
