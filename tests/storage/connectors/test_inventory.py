"""Inventories are sorted streams, and what differs between two is counted exactly."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineal.errors import InvalidArgument
from storage.connectors import inventory, partitions
from storage.connectors.backend import Entry
from storage.connectors.inventory import Inventory, drift, entries, take
from storage.connectors.partitions import PartitionKey


async def paged(found: Iterable[Entry], size: int = 7) -> AsyncIterator[Sequence[Entry]]:
    left = list(found)
    for i in range(0, len(left), size):
        yield left[i : i + size]


async def taken(*found: Entry) -> tuple[Inventory, io.BytesIO]:
    out = io.BytesIO()
    result = await take(paged(found), out)
    out.seek(0)
    return result, out


async def test_files_in_any_order_give_the_same_inventory_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "RUN", 20)
    found = [Entry(f"{i:03}", i, i, f"e{i}") for i in range(100)]
    first, lines = await taken(*found)
    shuffled = found * 2
    random.Random(1).shuffle(shuffled)
    second, again = await taken(*shuffled)
    assert first == second
    assert lines.getvalue() == again.getvalue()
    assert list(entries(lines)) == found
    assert (first.count, first.size) == (100, 4950)
    assert first.digest == "sha256:" + hashlib.sha256(lines.getvalue()).hexdigest()


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3)),
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3)),
)
async def test_drift_is_what_a_comparison_in_memory_finds(old: dict[str, int], new: dict[str, int]) -> None:
    (_, before), (_, after) = [await taken(*(Entry(path, size) for path, size in each.items())) for each in (old, new)]
    found = drift(before, after)
    assert set(found.added.examples) == set(new) - set(old)
    assert set(found.removed.examples) == set(old) - set(new)
    assert set(found.changed.examples) == {path for path in set(old) & set(new) if old[path] != new[path]}
    assert bool(found) == (old != new)


async def test_examples_are_few_and_counts_exact() -> None:
    _, nothing = await taken()
    _, many = await taken(*(Entry(f"{i:05}", 1) for i in range(1000)))
    found = drift(nothing, many)
    assert (found.added.count, len(found.added.examples)) == (1000, inventory.EXAMPLES)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        (Entry("a", 1, 1, "x"), Entry("a", 2, 1, "x"), True),
        (Entry("a", 1, 1, "x"), Entry("a", 1, 1, "y"), True),
        (Entry("a", 1, 1, "x"), Entry("a", 1, 2, "x"), False),
        (Entry("a", 1, 1), Entry("a", 1, 2), True),
        (Entry("a", 1, None), Entry("a", 1, 2), False),
        (Entry("a", 1, 1), Entry("a", 1, None), False),
        (Entry("a", 1, 1, "x", "md5:1"), Entry("a", 1, 1, "x", "md5:2"), True),
        (Entry("a", 1, 1, "x", "md5:1"), Entry("a", 1, 1, "x"), False),
    ],
)
async def test_a_file_changed_if_what_both_times_say_differs(old: Entry, new: Entry, changed: bool) -> None:
    (_, before), (_, after) = await taken(old), await taken(new)
    assert bool(drift(before, after).changed.count) is changed


@pytest.mark.parametrize(
    "lines", [b"x\n", b"[]\n", b"{}\n", b'{"path":"b","size":1,"modified":1}\n{"path":"a","size":1,"modified":1}\n']
)
def test_what_is_no_inventory_is_refused(lines: bytes) -> None:
    with pytest.raises(InvalidArgument):
        drift(io.BytesIO(lines), io.BytesIO())


async def test_partitions_are_known_by_their_keys() -> None:
    paths = [f"year={y}/month={m}/part-{i}" for y in range(3) for m in range(12) for i in range(2)]
    result, _ = await taken(*(Entry(path, 1) for path in [*paths, "_SUCCESS", "_delta_log/0.json", "year=1/.part.crc"]))
    assert result.keys == (PartitionKey("year", 3, exact=True), PartitionKey("month", 12, exact=True))
    assert result.partitions == 36


@pytest.mark.parametrize("other", ["plain", "year=1/plain", "month=1/year=2/x", "a/b", "=1/x"])
async def test_one_file_elsewhere_and_a_folder_is_not_partitioned(other: str) -> None:
    result, _ = await taken(Entry("year=1/month=2/x", 1), Entry(other, 1))
    assert (result.keys, result.partitions) == ((), 0)


async def test_values_are_counted_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "MAX_VALUES", 10)
    result, _ = await taken(*(Entry(f"id={i}/x", 1) for i in range(100)))
    assert result.keys == (PartitionKey("id", 10, exact=False),)
    assert result.partitions == 100
