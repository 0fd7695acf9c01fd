"""The command line that makes the rows of a table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from fastvmt.config import config_folder
from fastvmt.literals import listed, quoted
from fastvmt.studies.rows import Row
from fastvmt.studies.table import StudyTable
from fastvmt.sweep import ALONE


def command(table: StudyTable) -> str:
    """Write the command line that makes the table's rows, those of other systems aside: commands, where one cannot."""
    groups: dict[tuple[tuple[str, ...], frozenset[str]], list[Row]] = {}
    for row in table.rows:
        if not row.name:
            groups.setdefault((tuple(row.values), frozenset(row.told)), []).append(row)
    first = next((rows for rows in groups.values() if table.rows[table.base] in rows), next(iter(groups.values()), []))
    beside: list[str] = []
    apart: list[list[str]] = []
    for rows in groups.values():
        own = [f"{key}={values}" for key, values in swept_values(rows) if key not in first[0].values]
        if first[0].values and len(own) == 1 and {*rows[0].told} == {*first[0].told}:
            beside += own
        elif rows != first:
            apart.append([*sweep_command(rows), *(ALONE if experiment_of(rows[0]) and rows[0].values else ())])
    words = f"hydra.sweeper.beside=[{','.join(map(hydra_text, beside))}]"
    sweeper = ["hydra/sweeper=grid", words] if beside or (first and has_beside(first[0])) else []
    return " && ".join(map(shlex.join, [[*sweep_command(first), *sweeper], *apart]))


def experiment_of(row: Row) -> str:
    """Give the name of a row's experiment, whose own sweep its command would have; nothing without one."""
    return next((word.partition("=")[2] for word in row.overrides if word.startswith("experiment=")), "")


def has_beside(row: Row) -> bool:
    """Whether a row's experiment names rows beside its grid: in the package's file, or in one of the user's own."""
    own = (folder for word in row.overrides if word.startswith("hydra.searchpath=") for folder in listed(word) or ())
    folders = [config_folder(), *(Path(str(folder).removeprefix("file://")) for folder in own)]
    files = (folder / "experiment" / f"{experiment_of(row)}.yaml" for folder in folders)
    return any("beside:" in file.read_text(encoding="utf-8") for file in files if file.is_file())


def hydra_text(word: str) -> str:
    """Write a text for Hydra's grammar, in double quotes where these hold it, which a shell's single ones hold."""
    return quoted(word) if re.search(r"[\"'\\$]", word) else f'"{word}"'


def sweep_command(rows: Sequence[Row]) -> list[str]:
    """Write the command of rows that sweep the same keys and were told the same otherwise."""
    swept = swept_values(rows)
    words = rows[0].told if rows else []
    return ["python", "run.py", *(["-m"] if swept else []), *words, *map("=".join, swept)]


def swept_values(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """List the keys that rows sweep, with their values."""
    return [(key, ",".join(dict.fromkeys(row.values[key] for row in rows))) for key in (rows[0].values if rows else ())]
