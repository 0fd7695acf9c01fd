"""The rows of a study: its finished runs, each named by what the study sweeps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import RunFolder

UNNAMED = ("output_dir", "cache_dir", "overwrite", "rerun", "swept", "logger", "threads")
"""Keys and groups of overrides that name no row."""
NAMED = "row"
"""The group of a table's named rows: their name says all."""


@dataclass(frozen=True)
class Row:
    """One run and what it was told."""

    folder: Path
    overrides: tuple[str, ...]
    """The command line's, but for folders."""
    records: tuple[CaseRecord, ...]
    values: Mapping[str, str]
    """Of the swept keys; none outside of a sweep."""
    job: int
    """Its number in the latest sweep that it was in."""
    config: Mapping[str, Any]
    """As ``result.json`` has it."""
    name: str = ""
    """Of clips that another system made, which has no words."""

    def matches(self, wanted: Mapping[str, Any]) -> bool:
        """Whether the row has these values of swept keys."""
        return bool(wanted) and all(plain(self.values.get(key)) == plain(value) for key, value in wanted.items())


def plain(value: object) -> str:
    """Write a value without what the command line and YAML write differently: spaces, quotes, the case of words."""
    return re.sub(r"[\s'\"]", "", str(value)).lower()


def read_rows(folders: Sequence[Path]) -> list[Row]:
    """Read the finished runs at ``folders``, in their ``rows/`` or directly below, in the order of what they sweep.

    Raises ``ValueError`` for a folder without any, and for files that cannot be read, naming them.
    """
    rows = []
    for folder in folders:
        found = runs_of(folder)
        if not found:
            raise ValueError(f"{folder} holds no finished run: no result.json there, in rows/ or in a folder below it")
        rows += sorted(map(read_row, found), key=in_order)
    return rows


def runs_of(folder: Path) -> list[Path]:
    """List the folders of a study's finished runs."""
    own = [folder] if (folder / "result.json").is_file() else []
    below = [] if own else folder.glob("*/result.json")
    return [*own, *sorted(file.parent for file in (*folder.glob("rows/*/result.json"), *below))]


def read_row(folder: Path) -> Row:
    """Read one finished run."""
    run = RunFolder(folder)
    content = run.content()
    row = content.get("row") or {}
    words = content.get("overrides") or [folder.name]
    overrides = tuple(str(word) for word in words if root(str(word)) not in UNNAMED)
    values = {str(key): str(value) for key, value in (row.get("values") or {}).items()}
    job = int(row.get("job") or 0)
    name = str(row.get("name") or "")
    return Row(folder, overrides, tuple(run.records()), values, job, content.get("config") or {}, name)


def root(override: str) -> str:
    """Give the first part of an override's key."""
    return re.split(r"[.=@/]", override.lstrip("+~"))[0]


def in_order(row: Row) -> tuple[Any, ...]:
    """Sort numbers by size, words by their place in the sweep; rows of other systems come last."""
    return (
        row.name,
        tuple((number(value) is None, number(value) or 0.0, row.job) for value in row.values.values()),
        row.job,
    )


def number(text: str) -> float | None:
    """Read a number; None for other words."""
    try:
        return float(text)
    except ValueError:
        return None


def labels(rows: Sequence[Row]) -> list[str]:
    """Name every row by its swept values, or by the overrides that not all rows share.

    Rows that would have one name have their folder's behind it.
    """
    own = [row for row in rows if not row.name]
    keys = {tuple(row.values) for row in own}
    if len(keys) == 1 and keys != {()}:
        words = unswept(rows)
        names = [row.name or ", ".join([named_all(row.values, ", "), *words[i]]) for i, row in enumerate(rows)]
    else:
        shared = set.intersection(*(set(row.overrides) for row in own)) if len(own) > 1 else set()
        words = [[word for word in row.overrides if word not in shared] for row in rows]
        names = [row.name or ", ".join(found) or "default" for row, found in zip(rows, words, strict=True)]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name} ({row.folder.name})" for name, row in zip(names, rows, strict=True)]


def unswept(rows: Sequence[Row]) -> list[list[str]]:
    """List what rows were told beside what is swept, as far as not all of them were: sweeps may share a folder."""
    own = [row for row in rows if not row.name]
    swept = {key for row in own for key in row.values}

    def told(row: Row) -> list[str]:
        keys = ((word, word.lstrip("+").partition("=")) for word in row.overrides)
        return [word for word, (key, equals, _) in keys if equals and key not in swept]

    shared = set.intersection(*(set(told(row)) for row in own))
    return [[] if row.name else [word for word in told(row) if word not in shared] for row in rows]


def named_all(values: Mapping[str, str], between: str, symbols: Mapping[str, str] | None = None) -> str:
    """Write a row's swept values, with ``symbols`` for the last parts of some keys."""
    endings = Counter(ending(key) for key in values)
    return between.join(named(key, value, endings, symbols) for key, value in values.items())


def ending(key: str) -> str:
    """Give the last part of a key."""
    return re.split(r"[./]", key)[-1]


def named(key: str, value: str, endings: Mapping[str, int], symbols: Mapping[str, str] | None = None) -> str:
    """Write a swept value: short, where no other key ends alike; a named row by its name."""
    if key == NAMED:
        return value
    last = ending(key)
    return f"{(symbols or {}).get(last, last) if endings[last] == 1 else key}={value}"


def unfinished(folder: Path) -> list[str]:
    """Name the rows of a study that have begun and have no result."""
    begun = sorted(file.parent for file in folder.glob("rows/*/config.yaml"))
    return [run.name for run in begun if not (run / "result.json").is_file()]
