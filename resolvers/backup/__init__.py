"""Use cases of operators: graph, audit and bytes of one moment are kept elsewhere, and brought back."""
