"""OpenLineage: what producers say of runs, jobs and data sets, merged into the graph in whatever order it comes.

`events` is what an event says once it was read, `merging` what stands after all events (a join: order and repeats
change nothing), `meaning` what that is in the terms of the graph, `ingesting` the write, `reading_versions` which
version of its data a run read.
"""
