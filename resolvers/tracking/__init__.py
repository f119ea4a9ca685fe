"""What tracking servers know of runs and registries comes into the graph: looked up for versions, or imported whole."""
