"""The other faces over HTTP: SCIM 2.0 today. Like schema/, it calls use cases and knows no store."""
