"""Scores a scikit-learn model on a data set, for `lineal validate`.

    lineal validate --suite tabular --command "python $PWD/examples/validate_sklearn.py"

The model is a file of joblib (*.joblib, *.pkl) or skops (*.skops), the data set a CSV file with a header. Settings of
the validation, all of them optional:

    target      the column to predict; the last one unless given
    slices      columns for whose values the metrics are reported apart, as in ["country"]
    atLeast     what must be reached, as in {"accuracy": 0.9}: with less the version does not pass

It needs scikit-learn, and skops for files of skops. A pickle, which joblib's files are, runs code when it is loaded:
load only what is trusted, or use skops.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

Row = dict[str, str]


def main() -> None:
    """Read what is to be done, do it, write the report."""
    told = json.loads(Path(os.environ["LINEAL_INPUT"]).read_text(encoding="utf-8"))
    settings: dict[str, Any] = told["settings"]
    model = load(Path(os.environ["LINEAL_MODEL"]))
    rows = read(Path(os.environ["LINEAL_DATA"]))
    target = settings.get("target") or list(rows[0])[-1]
    sliced = settings.get("slices", [])
    features = [name for name in rows[0] if name != target and name not in sliced]
    predicted = [str(label) for label in model.predict([[float(row[name]) for name in features] for row in rows])]
    pairs = [(row[target], label, row) for row, label in zip(rows, predicted, strict=True)]
    metrics = score([(wanted, got) for wanted, got, _ in pairs])
    slices = {
        f"{column}={value}": score([(wanted, got) for wanted, got, row in pairs if row[column] == value])
        for column in sliced
        for value in sorted({row[column] for row in rows})
    }
    missed = [
        f"{name} is {metrics[name]}" for name, least in settings.get("atLeast", {}).items() if metrics[name] < least
    ]
    Path("report.md").write_text("".join(f"- {name}: {value}\n" for name, value in metrics.items()), encoding="utf-8")
    report = {
        "success": not missed,
        "message": "; ".join(missed) or f"{len(rows)} rows",
        "metrics": metrics,
        "slices": slices,
        "params": {"target": target, "rows": len(rows)},
        "report": "report.md",
    }
    Path(os.environ["LINEAL_REPORT"]).write_text(json.dumps(report), encoding="utf-8")


def load(folder: Path) -> Any:
    """The model in a folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".skops":
            from skops import io

            return io.load(path, trusted=[])
        if path.suffix in {".joblib", ".pkl"}:
            import joblib

            return joblib.load(path)
    sys.exit(f"there is no file of joblib or skops in {folder}")


def read(folder: Path) -> list[Row]:
    """The rows of the CSV file in a folder."""
    for path in sorted(folder.rglob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    sys.exit(f"there is no CSV file in {folder}")


def score(pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Accuracy and macro F1 of (wanted, got)."""
    from sklearn.metrics import accuracy_score, f1_score

    wanted, got = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {
        "accuracy": float(accuracy_score(wanted, got)),
        "f1": float(f1_score(wanted, got, average="macro", zero_division=0)),
    }


if __name__ == "__main__":
    main()
