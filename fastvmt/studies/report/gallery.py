"""The videos of a study: for every case the reference and every row's video beside each other."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from fastvmt.files import is_plain
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import CaseFolder, RunFolder
from fastvmt.results.pairing import reference_hash
from fastvmt.studies.forms import one_line, text
from fastvmt.studies.report.curves import loss_curve
from fastvmt.studies.report.posters import Posters
from fastvmt.studies.table import StudyTable

SCORES = 4
"""Numbers beside a video."""
Made = Sequence[tuple[int, CaseRecord]]
"""The records of one case, each with the place of its row."""


@dataclass(frozen=True)
class Shot:
    """One video of a case; paths are relative to the page."""

    name: str
    """Of the row, or of the reference."""
    video: str | None = None
    poster: str | None = None
    motion: str | None = None
    """A picture of both motion fields."""
    curve: Markup | None = None
    scores: Sequence[tuple[str, str]] = ()
    note: str = ""
    """Why there is no video."""
    record: CaseRecord | None = None
    """Of what there is a video of: its frames, rate and size."""


@dataclass(frozen=True)
class CaseView:
    """A case and all its videos, the reference first."""

    anchor: str
    id: str
    prompt: str
    reference: str
    shots: Sequence[Shot]


def anchors(table: StudyTable) -> dict[str, str]:
    """Give every case's place on the page by its id: those of the base row first."""
    rows = [table.rows[table.base], *table.rows]
    ids = dict.fromkeys(record.id for row in rows for record in row.records)
    return {case: f"case-{i}" for i, case in enumerate(ids, 1)}


def gallery(table: StudyTable, page: Path, posters: Posters) -> list[CaseView]:
    """Show all cases of a study on the page in the folder ``page``."""
    records = [{record.id: record for record in row.records} for row in table.rows]
    columns = [name for name in table.columns if name != "diverged"][:SCORES]
    values = [{name: table.values(i, name) for name in columns} for i in range(len(table.rows))]
    views = []
    for case, anchor in anchors(table).items():
        made = [(i, found[case]) for i, found in enumerate(records) if case in found]
        shots = reference_shots(table, made, page, posters)
        for i, found in enumerate(records):
            if case in found:
                folder = RunFolder(table.rows[i].folder).case(case)
                numbers = {name: column.get(case, math.nan) for name, column in values[i].items()}
                shots.append(shot(table.names[i], folder, found[case], numbers, page, posters))
            else:
                shots.append(Shot(one_line(table.names[i]), note="this row does not have the case"))
        prompt, reference = (told(table, made, name) for name in ("prompt", "reference"))
        views.append(CaseView(anchor, one_line(case), prompt, reference, shots))
    return views


def told(table: StudyTable, made: Made, name: str) -> str:
    """Give the words of a case in a field of its records; where rows have others, all, with the rows behind them."""
    rows: dict[str, list[str]] = {}
    for i, record in made:
        rows.setdefault(one_line(getattr(record, name)), []).append(one_line(table.names[i]))
    return next(iter(rows)) if len(rows) == 1 else "; ".join(f"{it} ({', '.join(names)})" for it, names in rows.items())


def reference_shots(table: StudyTable, made: Made, page: Path, posters: Posters) -> list[Shot]:
    """Show the reference that all rows with a case follow; where they follow several, each with its rows' names."""
    apart: dict[str, list[tuple[int, CaseRecord]]] = {}
    for i, record in made:
        apart.setdefault(reference_hash(record), []).append((i, record))
    names = {digest: ", ".join(one_line(table.names[i]) for i, _ in rows) for digest, rows in apart.items()}
    return [
        reference_shot("reference" if len(apart) == 1 else f"reference of {names[digest]}", table, rows, page, posters)
        for digest, rows in apart.items()
    ]


def reference_shot(name: str, table: StudyTable, made: Made, page: Path, posters: Posters) -> Shot:
    """Show the reference from the first row that has its file."""
    for i, record in made:
        file = RunFolder(table.rows[i].folder).case(record.id).reference
        if is_plain(file):
            poster = posters.of(file, record.files.get(file.name) or record.frames_sha256["reference"])
            return Shot(name, link(file, page), poster_link(poster, posters, page), record=record)
    return Shot(name, note="no row has its file")


def shot(
    name: str, folder: CaseFolder, record: CaseRecord, numbers: Mapping[str, float], page: Path, posters: Posters
) -> Shot:
    """Show what a row made of a case."""
    curve = loss_curve(folder.trace) if is_plain(folder.trace) else None
    if record.diverged is not None:
        return Shot(one_line(name), curve=curve, note=f"diverged: {one_line(str(record.diverged))}")
    if not is_plain(folder.generated):
        return Shot(one_line(name), curve=curve, note="its file is gone")
    digest = record.files.get(folder.generated.name) or record.frames_sha256["generated"]
    poster = posters.of(folder.generated, digest)
    return Shot(
        one_line(name),
        link(folder.generated, page),
        poster_link(poster, posters, page),
        link(folder.motion, page) if is_plain(folder.motion) else None,
        curve,
        [(column.replace("_", " "), text(value)) for column, value in numbers.items()],
        record=record,
    )


def poster_link(name: str | None, posters: Posters, page: Path) -> str | None:
    """Give the path of a poster, if there is one."""
    return None if name is None else link(posters.folder / name, page)


def link(file: Path, page: Path) -> str:
    """Give a file's path from the page, as a browser reads it."""
    return quote(os.path.relpath(file, page).replace(os.sep, "/"))
