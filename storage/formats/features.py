"""Which of scikit-learn's estimators says how many features a fitted one takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

COUNT: Final = "n_features_in_"
_ASKED: Final = ("steps", "transformer_list", "best_estimator_", "regressor_", "estimators_")
"""Where an estimator has others of which the first one's count is its own, as scikit-learn has it."""
_MAX_DEPTH: Final = 20


def counted(
    model: Any, attributes: Callable[[Any], Mapping[str, Any]], first: Callable[[Any], Any]
) -> Mapping[str, Any]:
    """The attributes of the estimator that has the count of `model`: it itself, or one that it hands its input to.

    Empty where none has it: those that take texts, say. `attributes` gives what an estimator has, nothing for what is
    none; `first` the estimator itself, or the first of a list of them, of which each may come with its name.
    """
    for _ in range(_MAX_DEPTH):
        known = attributes(model)
        if COUNT in known:
            return known
        model = first(next((known[name] for name in _ASKED if name in known), None))
    return {}
