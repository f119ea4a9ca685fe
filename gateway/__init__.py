"""The other faces over HTTP: SCIM 2.0, the feed of events, MLflow. Like schema/, they know use cases and no store."""
