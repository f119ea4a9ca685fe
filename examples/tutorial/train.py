"""Trains a model that tells prices from sizes: `python train.py DATA MODEL`. It needs nothing but Python.

DATA is a CSV file with the columns size and price, MODEL the folder that gets `model.json`.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
from pathlib import Path


def main(data: Path, model: Path) -> None:
    """Fit a line, and write it down."""
    with data.open(newline="", encoding="utf-8") as file:
        rows = [(float(row["size"]), float(row["price"])) for row in csv.DictReader(file)]
    line = statistics.linear_regression([size for size, _ in rows], [price for _, price in rows])
    model.mkdir(parents=True, exist_ok=True)
    (model / "model.json").write_text(json.dumps({"slope": line.slope, "intercept": line.intercept}), encoding="utf-8")
    print(f"price = {line.slope:.2f} * size + {line.intercept:.2f}, from {len(rows)} rows")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
