"""Stages, gates and approvals."""
