"""The pages for people: GraphiQL with the lineage picture, and the picture alone. Sources are in ui/."""
