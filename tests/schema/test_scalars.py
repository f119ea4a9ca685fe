"""Times, large integers and odd floats in JSON."""

from __future__ import annotations

import math

import pytest

from schema.scalars import SCALARS, BigInt, MetricValue, iso, micros


def test_times_go_out_in_utc_with_microseconds() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000000Z"
    assert iso(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001Z"
    assert iso(-1) == "1969-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00.000001+01:00", 1),
        ("1970-01-01t00:00:00.5z", 500_000),
        ("2023-11-14T22:13:20.000001Z", 1_700_000_000_000_001),
    ],
)
def test_times_come_in_with_any_offset(text: str, value: int) -> None:
    assert micros(text) == value


@pytest.mark.parametrize("text", ["1970-01-01", "1970-01-01T00:00:00", "yesterday", 0, None, "1970-13-01T00:00:00Z"])
def test_what_is_no_time_with_an_offset_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        micros(text)


@pytest.mark.parametrize("value", ["9007199254740993", 9007199254740993])
def test_large_integers_are_taken_as_digits_or_numbers_and_given_as_digits(value: object) -> None:
    big = SCALARS[BigInt]
    assert big.parse_value is not None
    assert big.serialize is not None
    assert big.serialize(big.parse_value(value)) == "9007199254740993"


@pytest.mark.parametrize("value", ["", "1.5", 1.5, True, 2**63, "99999999999999999999", None])
def test_what_is_no_integer_of_64_bits_is_refused(value: object) -> None:
    big = SCALARS[BigInt]
    assert big.parse_value is not None
    with pytest.raises(ValueError, match="64 bits"):
        big.parse_value(value)


@pytest.mark.parametrize(("value", "shown"), [(0.5, 0.5), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_figures_go_both_ways(value: float, shown: object) -> None:
    figure = SCALARS[MetricValue]
    assert figure.serialize is not None
    assert figure.parse_value is not None
    assert figure.serialize(value) == shown
    assert figure.parse_value(shown) == value


def test_nan_goes_both_ways() -> None:
    figure = SCALARS[MetricValue]
    assert figure.serialize is not None
    assert figure.parse_value is not None
    assert figure.serialize(math.nan) == "NaN"
    assert math.isnan(figure.parse_value("NaN"))
    with pytest.raises(TypeError, match="NaN"):
        figure.parse_value("nan")
