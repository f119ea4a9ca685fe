"""What decides of versions: the stages that they move through, the gates on the way, and who lets them pass."""
