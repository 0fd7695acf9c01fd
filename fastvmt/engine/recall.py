"""A case that some run has generated before, under what is asked for now: nothing is generated, missing scores are."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastvmt.algorithm import ALGORITHM
from fastvmt.benchmarks import Benchmark
from fastvmt.config import Rerun
from fastvmt.data.video import read_video
from fastvmt.engine.case_files import write_exact, write_exact_reference
from fastvmt.engine.identity import cell_key, config_hash, weights_hash
from fastvmt.engine.plan import Plan
from fastvmt.engine.record import judgement_of
from fastvmt.engine.session import Session, cells_of
from fastvmt.files import is_plain, write_json
from fastvmt.results.case_record import CaseRecord, Identity, case_key
from fastvmt.results.cells import Cell, StoredScore, link_files
from fastvmt.results.folder import CaseFolder, RunFolder
from fastvmt.results.provenance import frames_sha256
from fastvmt.score.scores import DIVERGED, Judged
from fastvmt.types import TransferCase, TransferResult, Video

log = logging.getLogger(__name__)


def keep(session: Session, folder: CaseFolder, record: CaseRecord, result: TransferResult | None) -> None:
    """Keep what a finished case's folder holds, and its exact pixels, for other runs."""

    def exact(cell: CaseFolder) -> None:
        if result is not None and not is_plain(cell.lossless):
            write_exact(cell.lossless, result, session)

    session.cells.keep(cell_key(record.identity), folder, record, exact)


def found_before(session: Session, case: TransferCase, folder: CaseFolder) -> CaseRecord | None:
    """Give the record of a case that stands in its folder, or that some run has generated, unless it is to be new."""
    rerun = session.plan.cfg.rerun
    if rerun is Rerun.all:
        return None
    record = folder.finished(session.identity(case), lossless=session.plan.cfg.lossless)
    if record is None:
        record = recall(session, case, folder)
    again = record is not None and record.diverged is not None and rerun is Rerun.failed
    return None if again else record


def has_all(session: Session, cases: Benchmark, folder: RunFolder) -> bool:
    """Whether no case has to be generated, so that the model need not be loaded."""
    return session.plan.cfg.rerun is Rerun.missing and not_kept(session, cases, folder) is None


def not_kept(session: Session, cases: Iterable[TransferCase], folder: RunFolder) -> TransferCase | None:
    """Give the first case that no run has generated as it is asked for; None if all are there."""

    def there(case: TransferCase) -> bool:
        identity = session.identity(case)
        if folder.case(case.id).finished(identity, lossless=session.plan.cfg.lossless):
            return True
        return session.cells.find(cell_key(identity)) is not None

    return next((case for case in cases if not there(case)), None)


def kept(plan: Plan) -> int:
    """Count the cases of a plan whose video is not made again; nothing is loaded, no file but the records is read."""
    if plan.cfg.rerun == Rerun.all:
        return 0
    cells = cells_of(plan.cfg)
    run = RunFolder(Path(plan.cfg.output_dir))
    config, weights = config_hash(plan.cfg), weights_hash(plan.cfg)

    def there(case: TransferCase) -> bool:
        key = cell_key(Identity(config, ALGORITHM, weights, case_key(case), {}, {}))
        found = [folder.read() for folder in (run.case(case.id), cells.at(key)) if folder is not None]
        made = [record for record in found if record is not None and cell_key(record.identity) == key]
        return any(record.diverged is None or plan.cfg.rerun == Rerun.missing for record in made)

    return sum(map(there, plan.cases))


def recall(session: Session, case: TransferCase, folder: CaseFolder) -> CaseRecord | None:
    """Write a case's folder from its cell and return the record; None where the case has to be generated."""
    cell = session.cells.find(cell_key(session.identity(case)))
    judged = None if cell is None else judgement(session, cell, case)
    if cell is None or judged is None:
        return None
    lossless = session.plan.cfg.lossless
    unasked = () if lossless else (folder.lossless, folder.lossless_reference)
    folder.clear()
    link_files(cell.folder, folder, unasked)
    here = folder.hashes()
    if any(here.get(name) != digest for name, digest in wanted(cell, unasked)):
        return None  # another process makes the cell anew
    if lossless and cell.record.diverged is None and not is_plain(folder.lossless_reference):
        write_exact_reference(folder.lossless_reference, case, session)
        here = folder.hashes()
    now: dict[str, Any] = {"id": case.id, "reference": case.reference_prompt or case.reference.name, "files": here}
    record = replace(cell.record, **now, **judgement_of(judged, session.scores))
    write_json(folder.record, record.to_json())
    return record


def wanted(cell: Cell, but: Sequence[Path]) -> list[tuple[str, str]]:
    """List name and hash of a cell's files, but for some."""
    names = [file.name for file in but]
    return [(name, digest) for name, digest in cell.record.files.items() if name not in names]


def judgement(session: Session, cell: Cell, case: TransferCase) -> Judged | None:
    """Give the scores of a cell that are asked for, computing those that it lacks; None without its exact pixels."""
    scores = session.scores
    if cell.record.diverged is not None:
        return scores.nothing(DIVERGED)
    columns = {name: entry.columns for name, entry in scores.entries.items()}
    known = {name: found for name, each in cell.scores(columns).items() if (found := latest(session, name, each))}
    if any(name not in known for name in columns):
        video = pixels(cell)
        if video is None:
            return None
        new = session.judged(case, video, without=known)
        for name in (name for name in columns if name not in known):
            values = {column: new.values[column] for column in columns[name]}
            notes = {column: new.notes[column] for column in values if column in new.notes}
            known[name] = StoredScore(scores.versions[name], scores.judges[name], values, notes)
            kept_or_told(cell, name, known[name])
    return Judged(
        {column: known[name].values.get(column, math.nan) for name in columns for column in columns[name]},
        {column: note for name in columns for column, note in known[name].notes.items()},
        scores.headline,
    )


def kept_or_told(cell: Cell, name: str, score: StoredScore) -> None:
    """Keep a score in its cell, or say why it cannot be kept."""
    try:
        cell.keep(name, score)
    except OSError as error:
        log.warning("cache_dir: %s cannot be written to (%s): scores are not kept for other runs", cell.later, error)


def latest(session: Session, name: str, found: list[StoredScore]) -> StoredScore | None:
    """Give the last of a score's stored values that today's definition and networks would give."""
    wanted = session.scores.versions[name], session.scores.judges[name]
    return next((score for score in reversed(found) if (score.version, score.judge) == wanted), None)


def pixels(cell: Cell) -> Video | None:
    """Give a cell's video as it was scored; None where it was kept otherwise, with a watermark say."""
    if not is_plain(cell.folder.lossless):
        return None
    video = read_video(cell.folder.lossless)
    return video if frames_sha256(video) == cell.record.frames_sha256.get("generated") else None
