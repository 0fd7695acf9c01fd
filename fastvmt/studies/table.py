"""One table of a study: means over cases, and paired differences to one row with their evidence."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fastvmt.results.columns import absences, healthy
from fastvmt.results.doubts import doubt_notes, signs
from fastvmt.results.machines import contended, machine_words, machines
from fastvmt.results.pairing import unlike_cases, unlike_notes
from fastvmt.results.statistics import Comparison, compare, holm, reference_of, summarise
from fastvmt.studies.quantities import DIVERGED, DRIFT, RATIO, SECONDS, Column, column, known_columns
from fastvmt.studies.rows import Row, labels

LEVEL = 0.05
"""Of significance, for a column."""
UNTOLD = "?"
"""Sign of a fidelity that is not above its row's chance level."""


@dataclass(frozen=True)
class Entry:
    """A mean over cases, seeds averaged within, and its paired difference to the base row."""

    mean: float
    n: int
    difference: Comparison | None
    """None in the base row."""
    significant: bool = False
    """Whether the difference is told from 0, by Holm's correction over the column; never for few references."""
    signs: str = ""
    """Of the doubts about some of its cases."""


@dataclass(frozen=True)
class Chance:
    """Motion fidelity of a row's videos to references that they do not follow: means over pairs."""

    fidelity: float
    dynamic: float
    pairs: int
    references: int

    @property
    def columns(self) -> dict[str, float]:
        """Give the level of every column that has one."""
        return {"motion_fidelity": self.fidelity, "motion_fidelity_dynamic": self.dynamic}


@dataclass(frozen=True)
class Spec:
    """What a table shows, as the configuration's ``table`` says."""

    question: str = ""
    base: Mapping[str, Any] | None = None
    columns: Sequence[str] = ()
    grid: Sequence[str] = ()
    score: str = "motion_fidelity"
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    published: str | None = None
    claims: Sequence[str] = ()
    cases: Sequence[str] = ()
    """Words of which the ids of the cases have one; without words all cases."""


@dataclass(frozen=True)
class StudyTable:
    """Rows, columns and entries, with what they were made from."""

    rows: Sequence[Row]
    names: Sequence[str]
    columns: Sequence[str]
    entries: Sequence[Sequence[Entry]]
    base: int
    spec: Spec = field(default_factory=Spec)
    chance: Mapping[int, Chance] = field(default_factory=dict)
    """By row, where it was measured."""

    def values(self, row: int, name: str) -> Column:
        """Give a row's column by case id."""
        return column(self.rows[row].records, name, self.rows[self.base].records)

    @property
    def absent(self) -> dict[str, dict[str, int]]:
        """Count the cases without a score by the reason, for the columns where there are any."""
        records = [record for row in self.rows for record in row.records]
        return {name: by_kind(found) for name in self.columns if (found := absences(records, name))}

    @property
    def doubts(self) -> list[str]:
        """Explain the signs of the entries, with the number of cases, or the rows; tell of unlike cases."""
        notes = doubt_notes({name: videos(row) for name, row in zip(self.names, self.rows, strict=True)}, self.columns)
        untold = [name for name, line in zip(self.names, self.entries, strict=True) if any(map(is_untold, line))]
        if untold:
            share = f"{len(untold)} of {len(self.names)} rows"
            notes.append(f"marked {UNTOLD}, not above the row's chance level in {share}: {', '.join(untold)}")
        records = {name: row.records for name, row in zip(self.names, self.rows, strict=True)}
        return [*notes, *unlike_notes(records, self.names[self.base])]

    @property
    def untimed(self) -> list[str]:
        """Say which rows have no seconds since several machines took them; nothing where none lacks them for that."""
        if not {*SECONDS} & {*self.columns}:
            return []
        base = self.rows[self.base].records
        timed = {name: machines(row.records, base) for name, row in zip(self.names, self.rows, strict=True)}
        apart = [name for name, found in timed.items() if len(found) > 1]
        if not apart:
            return []
        every = machine_words(machines(*(row.records for row in self.rows)))
        return [
            f"Seconds are n/a for {', '.join(apart)}: those of several machines, by row and with the base row, are not "
            f"averaged. Cases by machine: {every}."
        ]


def is_untold(entry: Entry) -> bool:
    """Tell whether a mean is one that unrelated clips reach."""
    return UNTOLD in entry.signs


def with_chance(table: StudyTable, chance: Mapping[int, Chance]) -> StudyTable:
    """Mark what is not above the chance level of its row."""

    def marked(row: int, name: str, entry: Entry) -> Entry:
        level = chance[row].columns.get(name, math.nan) if row in chance else math.nan
        return replace(entry, signs=entry.signs + UNTOLD) if entry.mean <= level else entry

    entries = [
        [marked(row, name, entry) for name, entry in zip(table.columns, line, strict=True)]
        for row, line in enumerate(table.entries)
    ]
    return replace(table, entries=entries, chance=chance)


def by_kind(reasons: Mapping[str, int]) -> dict[str, int]:
    """Count reasons that differ in a measured number only together."""
    found = Counter[str]()
    for reason, count in reasons.items():
        found[re.sub(r"\d+\.\d+", "..", reason)] += count
    return dict(found.most_common())


def spec_of(rows: Sequence[Row]) -> Spec:
    """Read what the rows' configurations say of their table: the first's."""
    node = dict(rows[0].config.get("table") or {})
    return Spec(**{key: value for key, value in node.items() if key in Spec.__dataclass_fields__})


def tabulated(rows: Sequence[Row], columns: Sequence[str] | None = None, spec: Spec | None = None) -> StudyTable:
    """Make the table of rows: the columns that are given, or the specification's, or all that some row has.

    Raises ``ValueError`` for an unknown column.
    """
    spec = spec_of(rows) if spec is None else spec
    records = [record for row in rows for record in row.records]
    known = known_columns(records)
    if unknown := [name for name in columns or () if name not in known]:
        raise ValueError(f"--columns {unknown[0]}: the runs have {', '.join(known)}")
    chosen = list(columns or [name for name in spec.columns if name in known] or known)
    base = base_row(rows, spec)
    table = StudyTable(rows, labels(rows), chosen, [], base, spec)
    entries = [[entry(table, row, name) for name in chosen] for row in range(len(rows))]
    if columns is None:  # what no run could measure is no column
        told = any(record.diverged is not None for record in records)
        kept = [i for i, name in enumerate(chosen) if any(line[i].n for line in entries) and (told or name != DIVERGED)]
        kept = kept or list(range(len(chosen)))
        chosen = [chosen[i] for i in kept]
        entries = [[line[i] for i in kept] for line in entries]
    return replace(table, columns=chosen, entries=corrected(entries))


def base_row(rows: Sequence[Row], spec: Spec) -> int:
    """Find the row that others are compared with; the first, where the one that is named is not there."""
    return next((i for i, row in enumerate(rows) if spec.base and row.matches(spec.base)), 0)


def entry(table: StudyTable, row: int, name: str, chosen: Callable[[str], bool] = lambda case: True) -> Entry:
    """Summarise a row's column over the ``chosen`` cases, paired with the base row on those that both have alike."""
    mine, base = ({k: v for k, v in table.values(i, name).items() if chosen(k)} for i in (row, table.base))
    summary = summarise(mine)
    ours, theirs = paired(table, row, mine, base)
    difference = None if row == table.base else compare(ours, theirs)
    if name == RATIO and difference is not None and abs(difference.mean) < DRIFT and drifts(table):
        difference = replace(difference, p=math.nan)
    return Entry(summary.mean, summary.n, difference, signs=signs(videos(table.rows[row], chosen), name))


def paired(table: StudyTable, row: int, *columns: Column) -> list[Column]:
    """Give columns of a row and the base row without the cases that are of other prompts or references there."""
    unlike = unlike_cases(table.rows[table.base].records, table.rows[row].records)
    return [{case: value for case, value in column.items() if case not in unlike} for column in columns]


def drifts(table: StudyTable) -> bool:
    """Whether some of the table's CPU seconds are of a machine that others wanted too."""
    return any(contended(record) for row in table.rows for record in healthy(row.records))


def videos(row: Row, chosen: Callable[[str], bool] = lambda case: True) -> list[Mapping[str, float]]:
    """Give the scores of a row's ``chosen`` cases, but for those that diverged."""
    return [record.scores for record in healthy(row.records) if chosen(record.id)]


def corrected(entries: Sequence[Sequence[Entry]]) -> list[list[Entry]]:
    """Tell which differences of every column are significant.

    Not those whose means, over other cases than the pairs, stand the other way round.
    """
    found = [list(line) for line in entries]
    for i in range(len(found[0]) if found else 0):
        differences = {row: line[i].difference for row, line in enumerate(found)}
        values = {row: each.p for row, each in differences.items() if each is not None and each.p == each.p}
        base = next((line[i].mean for line in found if line[i].difference is None), math.nan)
        for row, adjusted in holm(values).items():
            each = found[row][i]
            alike = each.difference is not None and (each.mean - base) * each.difference.mean > 0
            found[row][i] = replace(each, significant=adjusted < LEVEL and alike)
    return found


PARTED = ("motion_fidelity", "trajectory_cosine")
"""Scores that a table of parts has, if the table has them."""


@dataclass(frozen=True)
class Part:
    """Scores of a part of the cases, by row."""

    name: str
    columns: Sequence[str]
    entries: Sequence[Sequence[Entry]]


def parts_of(table: StudyTable) -> list[Part]:
    """Tell the scores of the parts of the cases that the specification names; none where only one part has cases."""
    named = {name: tuple(words) for name, words in table.spec.parts.items()}
    every = [word for words in named.values() for word in words]

    def inside(case: str, words: Sequence[str]) -> bool:
        reference = reference_of(case)
        return any(word in reference for word in words) if words else not any(word in reference for word in every)

    columns = [name for name in PARTED if name in table.columns]
    ids = {record.id for row in table.rows for record in row.records}
    found = {name: words for name, words in named.items() if any(inside(case, words) for case in ids)}
    if len(found) < 2:
        return []

    def of_part(row: int, name: str, words: Sequence[str]) -> Entry:
        return entry(table, row, name, lambda case: inside(case, words))

    return [
        Part(part, columns, [[of_part(row, name, words) for name in columns] for row in range(len(table.rows))])
        for part, words in found.items()
    ]
