"""One table of several runs: a row per run, named by the overrides in which the runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import healthy, score_column, seconds_column
from fastvmt.results.folder import RunFolder
from fastvmt.results.statistics import Comparison, compare, summarise

COSTS = ("gradients", "loop_seconds", "diverged")
"""Columns beside the scores: counted gradients, wall seconds of the guided loop, and the share of cases that diverged,
which count in no other column."""
FOLDERS = ("output_dir", "cache_dir", "overwrite")
"""Overrides that name no row."""


@dataclass(frozen=True)
class Row:
    """One run and what it was told."""

    folder: Path
    overrides: tuple[str, ...]
    """The command line's, but for folders."""
    records: tuple[CaseRecord, ...]

    def column(self, name: str) -> dict[str, float]:
        """Give a score, or one of ``COSTS``, by case id; NaN where it is missing."""
        if name == "gradients":
            return {record.id: float(record.passes.gradients) for record in healthy(self.records)}
        if name == "diverged":
            return {record.id: float(record.diverged is not None) for record in self.records}
        if name == "loop_seconds":
            return seconds_column(healthy(self.records), "loop")
        return score_column(self.records, name)


@dataclass(frozen=True)
class Cell:
    """A mean over cases, seeds averaged within, and its paired difference to the first row."""

    mean: float
    n: int
    difference: Comparison | None
    """None in the first row."""

    @property
    def significant(self) -> bool:
        """Whether the 95 % interval of the difference excludes 0; it is NaN, and this false, for few references."""
        return self.difference is not None and self.difference.significant


def read_rows(folders: Sequence[Path]) -> list[Row]:
    """Read the finished runs at or directly below ``folders``, jobs of a sweep in their order.

    Raises ``ValueError`` for a folder without any, and for files that cannot be read, naming them.
    """
    rows = []
    for folder in folders:
        below = sorted(folder.glob("*/result.json"), key=lambda file: (len(file.parent.name), file.parent.name))
        found = [folder] if (folder / "result.json").is_file() else [file.parent for file in below]
        if not found:
            raise ValueError(f"{folder} holds no finished run: no result.json there or in a folder directly below it")
        rows += [Row(run, overrides_of(RunFolder(run)), tuple(RunFolder(run).records())) for run in found]
    return rows


def overrides_of(run: RunFolder) -> tuple[str, ...]:
    """Read what a run was told on its command line, but for ``FOLDERS``; the folder's name for other runs."""
    words = run.content().get("overrides") or [run.path.name]
    return tuple(str(word) for word in words if str(word).partition("=")[0] not in FOLDERS)


def labels(rows: Sequence[Row]) -> list[str]:
    """Name every row by the overrides that not all rows share; ``default`` where none is left."""
    shared = set.intersection(*(set(row.overrides) for row in rows)) if len(rows) > 1 else set()
    return [", ".join(word for word in row.overrides if word not in shared) or "default" for row in rows]


def cells(rows: Sequence[Row], columns: Sequence[str]) -> list[list[Cell]]:
    """Summarise every column of every row, paired with the first row on the cases that both have."""
    found = []
    for row in rows:
        line = []
        for name in columns:
            mine = row.column(name)
            summary = summarise(mine)
            paired = None if row is rows[0] else compare(mine, rows[0].column(name))
            line.append(Cell(summary.mean, summary.n, paired))
        found.append(line)
    return found
