"""The entries of a table on the page: what a cell shows, sorts by and tells of its difference to the base row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fastvmt.results.folder import RunFolder
from fastvmt.studies.forms import counted, text
from fastvmt.studies.quantities import COSTS, DIVERGED, RATIO
from fastvmt.studies.report.gallery import anchors
from fastvmt.studies.table import Entry, StudyTable, paired

WORST = 200
"""Differences of single cases that are listed."""


@dataclass(frozen=True)
class Cell:
    """One number of the table."""

    shown: str
    value: float | None
    """To sort by; None for n/a."""
    below: str
    """The difference to the base row with its interval."""
    told: str
    """All of it, in words."""
    significant: bool


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    name: str
    n: int
    base: bool
    cells: Sequence[Cell]


def lines(table: StudyTable) -> list[Line]:
    """Give the table's rows."""
    found = []
    for i, (name, entries) in enumerate(zip(table.names, table.entries, strict=True)):
        most = max((entry.n for entry in entries), default=0)
        found.append(Line(name, most, i == table.base, [cell(entry, most) for entry in entries]))
    return found


def cell(entry: Entry, most: int) -> Cell:
    """Write an entry of a row whose columns have at most ``most`` cases."""
    value = entry.mean if math.isfinite(entry.mean) else None
    told = f"mean {text(entry.mean)} over {entry.n} cases"
    below = ""
    difference = entry.difference
    if difference is not None and math.isfinite(difference.mean):
        below = signed(difference.mean)
        told += f"; difference to the base row {below} over {difference.n} cases of {difference.references} references"
        if math.isfinite(difference.low):
            below += f" [{signed(difference.low)}, {signed(difference.high)}]"
            told += f", 95 % interval {signed(difference.low)} to {signed(difference.high)}, p {difference.p:.2g}"
    return Cell(counted(entry, most), value, below, told, entry.significant)


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return ("+" if value > 0 else "") + text(value)


@dataclass(frozen=True)
class CaseDifference:
    """How one case of a row differs from the base row's."""

    row: str
    case: str
    anchor: str
    base: float
    value: float

    @property
    def difference(self) -> float:
        """Value minus base."""
        return self.value - self.base


def case_differences(table: StudyTable, name: str) -> list[CaseDifference]:
    """List the cases whose values both a row and the base row have alike, the worst first."""
    places = anchors(table)
    base = table.values(table.base, name)
    found = [
        CaseDifference(table.names[i], case, places[case], base[case], value)
        for i in range(len(table.rows))
        if i != table.base
        for case, value in paired(table, i, table.values(i, name))[0].items()
        if math.isfinite(value) and math.isfinite(base.get(case, math.nan))
    ]
    worse = 1.0 if lower_is_better(table, name) else -1.0
    return sorted(found, key=lambda each: -worse * each.difference)


def lower_is_better(table: StudyTable, name: str) -> bool:
    """Whether small values of a column are the good ones: of costs, and of scores whose runs say so."""
    if name in (*COSTS, RATIO, DIVERGED):
        return True
    scores = RunFolder(table.rows[0].folder).content().get("metrics", {}).get("scores", {})
    return bool(scores.get(name, {}).get("direction") == "lower")
