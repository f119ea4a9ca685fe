"""Runs of Kubeflow Pipelines come into the graph: looked for again and again, told as OpenLineage tells them."""
