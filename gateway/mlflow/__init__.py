"""MLflow's model-registry REST, as unchanged clients of MLflow speak it, over the use cases that every face has."""
