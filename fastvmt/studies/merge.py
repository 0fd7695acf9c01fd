"""Studies that were made apart, on two machines say, as one: rows joined by name, cases by id."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastvmt.errors import UserError
from fastvmt.files import is_plain, write_json
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.cells import link_files
from fastvmt.results.columns import summaries
from fastvmt.results.folder import RunFolder
from fastvmt.studies.rows import runs_of

Parts = Mapping[str, Sequence[RunFolder]]


def merge(studies: Sequence[Path], target: Path) -> list[str]:
    """Write the finished rows of studies into an empty folder; returns their names.

    Raises :class:`UserError` for rows of one name that were made or scored otherwise, and for cases of one id of which
    there are two videos; nothing is written then. Raises ``ValueError`` for files that cannot be read.
    """
    if target.exists() and any(target.iterdir()):
        raise UserError(f"--into {target}: it is not empty, give a new folder")
    parts: dict[str, list[RunFolder]] = {}
    offsets: dict[Path, int] = {}
    jobs = 0
    for study in studies:
        found = [RunFolder(folder) for folder in runs_of(study)]
        if not found:
            raise UserError(f"{study} holds no finished run: no result.json there, in rows/ or in a folder below it")
        for run in found:
            parts.setdefault(run.path.name, []).append(run)
            offsets[run.path] = jobs
        jobs += 1 + max(job_of(run) for run in found)
    joined = {name: (runs, joined_cases(name, runs)) for name, runs in parts.items()}
    for name, (runs, cases) in joined.items():
        write_row(RunFolder(target / "rows" / name), runs, cases, offsets[runs[0].path])
    return list(joined)


def job_of(run: RunFolder) -> int:
    """Give a row's number in its sweep."""
    return int((run.content().get("row") or {}).get("job") or 0)


def joined_cases(name: str, runs: Sequence[RunFolder]) -> dict[str, tuple[CaseRecord, RunFolder]]:
    """Give the cases of a row by id, each with the folder that has it. Raises :class:`UserError` as :func:`merge`."""
    first, *others = runs
    for other in others:
        if first.content()["config_hash"] != other.content()["config_hash"]:
            raise UserError(
                f"row {name} was made otherwise in {first.path} and {other.path}: merge studies of one sweep"
            )
    found: dict[str, tuple[CaseRecord, RunFolder]] = {}
    for run in runs:
        for record in run.records():
            known, where = found.setdefault(record.id, (record, run))
            if (known.identity, known.frames_sha256) != (record.identity, record.frames_sha256):
                told = f"{where.path} and {run.path} have different results of it, leave one of them out"
                raise UserError(f"row {name}: case {record.id}: {told}")
    if len({str(sorted(record.judges.items())) for record, _ in found.values()}) > 1:
        raise UserError(f"row {name} was scored otherwise in its parts: run python -m fastvmt.rescore on each alike")
    return dict(sorted(found.items()))


def write_row(
    target: RunFolder, runs: Sequence[RunFolder], cases: Mapping[str, tuple[CaseRecord, RunFolder]], offset: int
) -> None:
    """Write a row: its cases' files as links where possible, ``config.yaml`` of the first part, ``result.json``."""
    for record, run in cases.values():
        folder = target.case(record.id)
        link_files(run.case(record.id), folder)
        write_json(folder.record, record.to_json())
    if is_plain(runs[0].config):
        shutil.copyfile(runs[0].config, target.config)
    contents = [run.content() for run in runs]
    write_json(target.result, merged(contents, [record for record, _ in cases.values()], offset))


def merged(contents: Sequence[Mapping[str, Any]], records: Sequence[CaseRecord], offset: int) -> dict[str, Any]:
    """Give what ``result.json`` holds of a row: the first part's, the words that all parts have, all cases."""
    first = dict(contents[0])
    words = [word for word in first.get("overrides") or () if all(word in each["overrides"] for each in contents)]
    row = first.get("row")
    numbered = None if row is None else row | {"job": offset + int(row.get("job") or 0)}
    lost = list({str(each): each for content in contents for each in content.get("lost") or ()}.values())
    return first | summaries(records) | {"overrides": words, "row": numbered, "lost": lost}
