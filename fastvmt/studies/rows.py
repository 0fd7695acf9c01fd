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
from fastvmt.results.schema import decoded
from fastvmt.sweep import bare

UNNAMED = ("output_dir", "cache_dir", "overwrite", "rerun", "swept", "logger", "threads")
"""Keys and groups of overrides that name no row."""
READ: Mapping[str, Any] = {
    "backbone.name": str,
    "tracker._target_": str,
    "metrics.clip.model": str | None,
    "table.question": str,
    "table.columns": list[str],
    "table.grid": list[str],
    "table.score": str,
    "table.parts": dict[str, list[str]],
    "table.published": str | None,
    "table.claims": list[str],
}
"""What tables read of a row's configuration, by type."""
NEEDED = ("backbone.name", "tracker._target_", "metrics.clip.model")
"""Of these, what every configuration has."""
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

    @property
    def told(self) -> list[str]:
        """List the overrides, but for what is swept."""
        return [word for word in self.overrides if bare(word) not in self.values]

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
        rows += in_order([read_row(run) for run in found])
    return rows


def runs_of(folder: Path) -> list[Path]:
    """List the folders of a study's finished runs."""
    own = [folder] if (folder / "result.json").is_file() else []
    below = [] if own else folder.glob("*/result.json")
    return [*own, *sorted(file.parent for file in (*folder.glob("rows/*/result.json"), *below))]


def read_row(folder: Path) -> Row:
    """Read one finished run. Raises ``ValueError``, naming the file and the key, for what is not as it was written."""
    run = RunFolder(folder)
    content = run.content()
    try:
        row = part(content, "row", {})
        words = decoded(list[str], content.get("overrides") or [folder.name], "overrides")
        values = decoded(dict[str, str], row.get("values") or {}, "row.values")
        job = decoded(int, row.get("job") or 0, "row.job")
        name = decoded(str, row.get("name") or "", "row.name")
        config = part(content, "config", {})
        check_config(config)
        if not content.get("cases"):
            raise ValueError("it has no case")
    except ValueError as error:
        raise ValueError(f"{run.result}: {error}") from error
    overrides = tuple(word for word in words if root(word) not in UNNAMED)
    return Row(folder, overrides, tuple(run.records()), values, job, config, name)


def part(content: Mapping[str, Any], key: str, otherwise: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Give an object of another one. Raises ``ValueError`` for another type."""
    found = content.get(key) or otherwise
    if not isinstance(found, dict):
        raise ValueError(f"{where}{key} is {found!r}, not an object")
    return found


def check_config(config: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` where ``READ`` is of another type in a configuration."""
    for path, kind in READ.items():
        *groups, key = path.split(".")
        node = config
        where = "config."
        for group in groups:
            node = part(node, group, {}, where)
            where += f"{group}."
        if key in node:
            decoded(kind, node[key], where + key)
        elif path in NEEDED:
            raise ValueError(f"{where}{key} is missing")
    part(part(config, "table", {}, "config."), "base", {}, "config.table.")


def root(override: str) -> str:
    """Give the first part of an override's key."""
    return re.split(r"[.=@/]", override.lstrip("+~"))[0]


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Sort the rows of a folder: what sweeps the same keys together, in the sweep's order; other systems come last."""
    begun: dict[tuple[str, ...], int] = {}
    for row in rows:
        keys = tuple(row.values)
        begun[keys] = min(row.job, begun.get(keys, row.job))
    return sorted(rows, key=lambda row: (row.name, begun[tuple(row.values)], tuple(row.values), *place_in_sweep(row)))


def place_in_sweep(row: Row) -> tuple[Any, ...]:
    """Sort numbers by size, words by their place in the sweep."""
    return tuple((number(value) is None, number(value) or 0.0, row.job) for value in row.values.values()), row.job


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
    if own and all(row.values for row in own):
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
    shared = set.intersection(*(set(row.told) for row in rows if not row.name))
    return [[] if row.name else [word for word in row.told if "=" in word and word not in shared] for row in rows]


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
