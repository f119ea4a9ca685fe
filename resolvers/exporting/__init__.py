"""Lineage in the forms that others read: W3C PROV, CycloneDX, SPDX, Croissant, model cards, OpenLineage, graphs.

`gathering` looks up once what the nodes of a lineage have, as far as whoever asks may read it; each form is a pure
function of that, in a module of its own; `exporting` is the way in. What was cut off or may not be read is said in
every form, in whatever words that form has for it.
"""
