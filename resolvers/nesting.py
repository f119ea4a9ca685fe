"""How deep values from outside may nest: whatever reads them further goes down level by level."""

from __future__ import annotations

from typing import Any


def nests_deeper(value: Any, levels: int) -> bool:
    """Whether there are more than so many objects and lists in each other."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        inner = (v.values() if isinstance(v, dict) else v for v in level)
        level = [part for parts in inner for part in parts if isinstance(part, (dict, list))]
        if not level:
            return False
    return bool(level)
