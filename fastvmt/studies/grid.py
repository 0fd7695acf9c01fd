"""One column of a table arranged over two swept keys."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from fastvmt.studies.quantities import known_columns
from fastvmt.studies.rows import Row, number
from fastvmt.studies.table import Entry, StudyTable, entry


@dataclass(frozen=True)
class Grid:
    """Means of one column over two swept keys."""

    keys: tuple[str, str]
    column: str
    rows: Sequence[str]
    columns: Sequence[str]
    means: Mapping[tuple[str, str], Entry]


def grid_rows(table: StudyTable) -> list[Row]:
    """List the rows that sweep the keys that the base row sweeps: others stand beside the grid."""
    own = [row for row in table.rows if not row.name]
    base = table.rows[table.base]
    return [row for row in own if set(row.values) == set((own[0] if base.name and own else base).values)]


def varying_keys(table: StudyTable) -> list[str]:
    """List the keys that the grid sweeps and that take more than one value there."""
    rows = grid_rows(table)
    return [key for key in (rows[0].values if rows else ()) if len({row.values[key] for row in rows}) > 1]


def grid_keys(table: StudyTable) -> list[str]:
    """List the keys of a table's grid: the specification's, or the two that are swept, where rows fill most places."""
    rows = grid_rows(table)
    swept = varying_keys(table)
    places = math.prod(len({row.values[key] for row in rows}) for key in swept)
    return list(table.spec.grid) or (swept if len(swept) == 2 and 2 * len(rows) > places else [])


def grid_of(table: StudyTable, keys: Sequence[str], name: str) -> Grid:
    """Arrange a column of a table over two swept keys. Raises ``ValueError`` as :func:`check_grid` does."""
    check_grid(table, keys, name)
    rows = [(i, row) for i, row in enumerate(table.rows) if all(key in row.values for key in keys)]
    first, second = (sorted({row.values[key] for _, row in rows}, key=partial(place_of, table, key)) for key in keys)
    means = {(row.values[keys[0]], row.values[keys[1]]): entry(table, i, name) for i, row in rows}
    return Grid((keys[0], keys[1]), name, first, second, means)


def place_of(table: StudyTable, key: str, value: str) -> tuple[bool, float, int]:
    """Sort numbers by size, words by their place in the sweep."""
    size = number(value)
    return size is None, size or 0.0, min(row.job for row in table.rows if row.values.get(key) == value)


def check_grid(table: StudyTable, keys: Sequence[str], name: str) -> None:
    """Raise ``ValueError`` for keys that are not swept or leave a place to several rows, and for an unknown column."""
    if problem := problem_of(table, keys, name):
        raise ValueError(": ".join(problem))


def problem_of(table: StudyTable, keys: Sequence[str], name: str) -> tuple[str, str] | None:
    """Give the option that asks for what cannot be, and why; None where a grid can be."""
    swept = list(dict.fromkeys(key for row in table.rows for key in row.values))
    option = f"--grid {' '.join(keys)}"
    if len(keys) != 2 or any(key not in swept for key in keys):
        return option, f"two swept keys are needed, of {', '.join(swept) or 'none'}"
    if name not in (known := known_columns([record for row in table.rows for record in row.records])):
        return f"--score {name}", f"the runs have {', '.join(known)}"
    places = Counter(tuple(row.values.get(key) for key in keys) for row in table.rows)
    for place, count in places.items():
        if count > 1 and None not in place:
            words = ", ".join(f"{key}={value}" for key, value in zip(keys, place, strict=True))
            return option, f"{count} rows have {words}"
    return None


def grid_of_spec(table: StudyTable) -> Grid | None:
    """Give the grid that a table's specification asks for, or that suits its sweep; None where there can be none."""
    keys = grid_keys(table)
    return grid_of(table, keys, table.spec.score) if keys and not no_grid(table) else None


def no_grid(table: StudyTable) -> list[str]:
    """Say why the grid of a table is left out; nothing where it is there, or where none is due."""
    if not (keys := grid_keys(table)):
        return []
    if problem := problem_of(table, keys, table.spec.score):
        why = problem[1]
    else:
        there = any(each.n for each in grid_of(table, keys, table.spec.score).means.values())
        why = "" if there else "it is n/a in every row"
    return [f"No grid of {table.spec.score.replace('_', ' ')} over {' and '.join(keys)}: {why}."] if why else []
