"""OpenLineage 2-0-2 over HTTP: events come in, one or many, from any producer."""
