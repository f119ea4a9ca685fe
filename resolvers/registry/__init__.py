"""Models and versions as registries of the kind of MLflow show them: by exact name and number, with all around them."""
