"""Studies that were made apart, on two machines say, as one: rows joined by name, cases by id."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fastvmt.errors import UserError
from fastvmt.files import write_json
from fastvmt.literals import listed
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.cells import link_files
from fastvmt.results.columns import summaries
from fastvmt.results.folder import RunFolder
from fastvmt.studies.rows import root, runs_of

log = logging.getLogger(__name__)

UNFINISHED = ".rows.unfinished"
"""The rows of a merge that is going on; what a stopped one left is made anew."""
Cases = Mapping[str, tuple[CaseRecord, RunFolder]]
"""By id, each with the folder that has it."""


def merge(studies: Sequence[Path], target: Path) -> list[str]:
    """Write the finished rows of studies into an empty folder; returns their names.

    All rows are there or none. Raises :class:`UserError` for rows of one name that were made or scored otherwise, and
    for cases of one id of which there are two videos; nothing is written then. Raises ``ValueError`` for files that
    cannot be read.
    """
    if target.exists() and any(file.name != UNFINISHED for file in target.iterdir()):
        raise UserError(f"--into {target}: it is not empty, give a new folder")
    parts: dict[str, list[RunFolder]] = {}
    offsets: dict[Path, int] = {}
    jobs = 0
    for study in studies:
        found = [RunFolder(folder) for folder in runs_of(study)]
        if not found:
            raise UserError(f"{study} holds no finished run: no result.json there, in rows/ or in a folder below it")
        for run in found:
            name = Path(os.path.abspath(run.path)).name  # of a single run's folder that is given as . too
            parts.setdefault(name, []).append(run)
            offsets[run.path] = jobs
        jobs += 1 + max(job_of(run) for run in found)
    joined = {name: (joined_cases(name, runs), attribution(name, runs), runs) for name, runs in parts.items()}
    rows = target / UNFINISHED
    shutil.rmtree(rows, ignore_errors=True)
    for name, (cases, clips, runs) in joined.items():
        warn_of_files(name, cases)
        write_row(RunFolder(rows / name), cases, merged(runs, cases, offsets[runs[0].path]) | {"attribution": clips})
    os.replace(rows, target / "rows")
    return list(joined)


def job_of(run: RunFolder) -> int:
    """Give a row's number in its sweep."""
    return int((run.content().get("row") or {}).get("job") or 0)


def joined_cases(name: str, runs: Sequence[RunFolder]) -> Cases:
    """Give the cases of a row, of two alike one whose files are whole. Raises :class:`UserError` as :func:`merge`."""
    first, *others = runs
    for other in others:
        if first.content()["config_hash"] != other.content()["config_hash"]:
            raise UserError(
                f"row {name} was made otherwise in {first.path} and {other.path}: merge studies of one sweep"
            )
    found: dict[str, tuple[CaseRecord, RunFolder]] = {}
    judged = set()
    for run in runs:
        for record in run.records():
            known, where = found.setdefault(record.id, (record, run))
            if video_of(known) != video_of(record):
                told = f"{where.path} and {run.path} have different videos of it, leave one of them out"
                raise UserError(f"row {name}: case {record.id}: {told}")
            if where is not run and where.case(record.id).differing(known):
                found[record.id] = (record, run)
            judged.add(str((sorted(record.judges.items()), sorted(record.score_versions.items()))))
    if len(judged) > 1:
        raise UserError(f"row {name} was scored otherwise in its parts: run python -m fastvmt.rescore on each alike")
    return dict(sorted(found.items()))


def video_of(record: CaseRecord) -> tuple[object, ...]:
    """Give what a case's video was made from, and its pixels; how it was scored is none of it."""
    return record.config, record.algorithm, record.weights, record.case, record.frames_sha256


def attribution(name: str, runs: Sequence[RunFolder]) -> dict[str, Any]:
    """Join what the parts of a row say of where their clips come from.

    Raises :class:`UserError` for a clip of which they say different things.
    """
    found = [part for run in runs if (part := run.content().get("attribution"))]
    clips: dict[str, Any] = {}
    for part in found:
        for clip, told in part["clips"].items():
            if clips.setdefault(clip, told) != told:
                both = f"its parts say {clips[clip]} and {told} of it: leave one of them out"
                raise UserError(f"row {name}: clip {clip}: {both}")
    names = {key: " and ".join(dict.fromkeys(str(part[key]) for part in found)) for key in ("name", "version")}
    return names | {"clips": clips} if found else {}


def warn_of_files(name: str, cases: Cases) -> None:
    """Warn of the cases of a row whose files are missing or damaged; they are merged as they are."""
    if problems := [told for record, run in cases.values() if (told := run.case(record.id).differing(record))]:
        log.warning("row %s: files of %d of %d cases: %s", name, len(problems), len(cases), problems[0])


def write_row(target: RunFolder, cases: Cases, content: Mapping[str, Any]) -> None:
    """Write a row: its cases' files as links where possible, ``config.yaml``, ``result.json``."""
    for record, run in cases.values():
        folder = target.case(record.id)
        link_files(run.case(record.id), folder)
        write_json(folder.record, record.to_json())
    target.config.write_text(yaml.safe_dump(content["config"], sort_keys=False, allow_unicode=True), encoding="utf-8")
    write_json(target.result, content)


def merged(runs: Sequence[RunFolder], cases: Cases, offset: int) -> dict[str, Any]:
    """Give what ``result.json`` holds of a row: the first part's, the words and the seeds of all parts, all cases."""
    contents = [run.content() for run in runs]
    first = contents[0]
    seeds = joined_seeds([list(content.get("overrides") or ()) for content in contents])
    words = []
    for word in first.get("overrides") or ():
        if seeds and root(word) == "seeds":
            words.append(f"seeds=[{','.join(map(str, seeds))}]")
        elif all(word in each["overrides"] for each in contents):
            words.append(word)
    row = first.get("row")
    numbered = None if row is None else row | {"job": offset + int(row.get("job") or 0)}
    lost = list({str(each): each for content in contents for each in content.get("lost") or ()}.values())
    config = first["config"] | ({"seeds": seeds} if seeds else {})
    told = {"overrides": words, "row": numbered, "lost": lost, "config": config}
    return first | summaries([record for record, _ in cases.values()]) | told


def joined_seeds(parts: Sequence[Sequence[str]]) -> list[int]:
    """Join the seeds that the words of every part list; none where one lists none: its cases' ids may have no seed."""
    found: dict[int, None] = {}
    for words in parts:
        told = [word for word in words if root(word) == "seeds"]
        values = listed(told[-1]) if told else None
        if values is None:
            return []
        found |= dict.fromkeys(values)
    return list(found)
