"""What other hubs tell by webhooks of their own comes into the graph: versions of models and data sets, and their runs.

`wandb` and `huggingface` read payloads, `recording` writes what they tell: the same again changes nothing.
"""
