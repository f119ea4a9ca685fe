"""What others tell of lineage, taken in: W3C PROV, Croissant, model cards.

Each form is read whole, and found right, before anything is written; `telling` is what it comes to, `importing` writes
that in one transaction, and is the way in. What a form says and Lineal has no place for is named, never dropped in
silence.
"""
