"""The process: settings, the composition root, the command line, errors, telemetry.

Only `lineal.parts` knows which store is in use. `lineal.errors` is a leaf that every room may import;
nothing else of this package may be imported by another room.
"""

__version__ = "0.1.0"
