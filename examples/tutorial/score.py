"""Scores a model of train.py on data that it has not seen, for `lineal validate`."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path


def main() -> None:
    """Read what the worker fetched, and write the report."""
    line = json.loads((Path(os.environ["LINEAL_MODEL"]) / "model.json").read_text(encoding="utf-8"))
    (data,) = Path(os.environ["LINEAL_DATA"]).glob("*.csv")
    with data.open(newline="", encoding="utf-8") as file:
        rows = [(float(row["size"]), float(row["price"])) for row in csv.DictReader(file)]
    errors = [abs(line["slope"] * size + line["intercept"] - price) for size, price in rows]
    report = {"success": True, "message": f"{len(rows)} rows", "metrics": {"mae": sum(errors) / len(errors)}}
    Path(os.environ["LINEAL_REPORT"]).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
