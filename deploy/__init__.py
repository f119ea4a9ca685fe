"""What Lineal is shipped as: image, chart, unit, compose file's parts, dashboards, alerts, bill of materials."""
