"""The configurations of a study's rows, as far as they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastvmt.studies.forms import one_line
from fastvmt.studies.rows import UNNAMED, Row

ABSENT = "-"
"""Stands for a key that a row does not have."""


def differing(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Give the keys whose values are not equal in all rows, with every row's value; folders are left out."""
    flat = [dict(leaves(row.config)) for row in rows]
    keys = dict.fromkeys(key for each in flat for key in each)
    found = {key: [each.get(key, ABSENT) for each in flat] for key in keys if key.split(".")[0] not in UNNAMED}
    return {one_line(key): values for key, values in found.items() if len(set(values)) > 1}


def leaves(node: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    """Walk a configuration: dotted keys and values in one line."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", one_line(str(value))
