"""What is hashed of a change is canonical JSON (RFC 8785), and what is read is what was written."""

from __future__ import annotations

from typing import Any

import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from graph.recording import canonical, read_data, write_data

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
PLAIN = st.none() | st.booleans() | TEXTS | st.floats(allow_nan=False, allow_infinity=False)
SMALL = st.integers(-(2**53) + 1, 2**53 - 1)


def json_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects of these values."""
    nested = st.recursive(values, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXTS, v, max_size=4))
    return st.dictionaries(TEXTS, nested, max_size=4)


@given(json_of(PLAIN | SMALL))
@example({"a": 1e16, "b": [-0.0, 1e-7, 2**53 - 1, -(2**53) + 1], "c": '\x7f\u2028"\\\x1f'})
@example({"\U00010000": 1, "\uffff": 2})
@example({"a": "[1.5", "b": [9007199254740991, 1764158400000000]})
def test_the_canonical_form_is_that_of_rfc_8785(value: dict[str, Any]) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(json_of(PLAIN | st.integers()))
@example({"deep": eval("[" * 90 + "]" * 90), "big": 10**400})
def test_what_is_read_is_what_was_written(value: dict[str, Any]) -> None:
    assert read_data(write_data(value)) == value
