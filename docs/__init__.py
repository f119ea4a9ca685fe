"""The documentation; what is derived from the code is written by docs.generate."""
