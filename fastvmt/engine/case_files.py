"""The files of a finished case, all written here: videos, motion picture, trace, what was learned, the record."""

from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path

from fastvmt.credentials import COMPOSITE
from fastvmt.data.panel import side_by_side
from fastvmt.data.video import write_video
from fastvmt.engine.motion_plot import plot_motion
from fastvmt.engine.session import Session
from fastvmt.engine.transfer import DivergedCase, Transfer
from fastvmt.files import write_json, write_tensors
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import CaseFolder
from fastvmt.types import TransferCase, TransferResult, Video

TRACE_COLUMNS = ("step", "sigma", "iteration", "loss", "grad_norm", "reused", "cosine")
VIEW_SIDE = 384
"""Small videos are enlarged to about this height, so that players show more than a stamp."""


def write_case(folder: CaseFolder, session: Session, transfer: Transfer) -> CaseRecord:
    """Write everything that a case leaves behind, last the record that marks it finished, and return that.

    It is the transfer's, and has the seconds that the other files took.
    """
    start = time.perf_counter()
    result = transfer.result
    plan = session.plan
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.clear()
    write_videos(folder, result, session)
    plot_motion(folder.motion, session.backbone, result, plan.guidance, plan.window, transfer.scores)
    write_trace(folder.trace, result.trace)
    if result.learned:
        write_tensors(folder.learned, result.learned, plan.method.name)
    cost = transfer.record.cost
    seconds = cost.seconds | {"save": time.perf_counter() - start}
    record = replace(transfer.record, cost=replace(cost, seconds=seconds), files=folder.hashes())
    write_json(folder.record, record.to_json())
    return record


def write_diverged(folder: CaseFolder, found: DivergedCase) -> CaseRecord:
    """Write what a case that diverged leaves behind, its trace and its record, and return that.

    Files of an earlier result go: nothing beside the record may be taken for this one's.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.clear()
    write_trace(folder.trace, found.trace)
    record = replace(found.record, files=folder.hashes())
    write_json(folder.record, record.to_json())
    return record


def write_videos(folder: CaseFolder, result: TransferResult, session: Session) -> None:
    """Write reference, generated video (both once more without loss, if asked for) and both beside each other.

    Every file that shows the generated video has the marks that are asked for; scores are of the frames without.
    """
    case = result.case
    marks = session.plan.marks
    known = origin(session)
    tags = generated_tags(case, session)
    reference = Video(case.reference.frames_THWC, case.reference.fps, "reference")
    generated = replace(marks.watermarked(result.video), name=case.prompt)
    scale = max(1, VIEW_SIDE // case.reference.size[1])
    write_video(folder.reference, reference, known, scale=scale)
    write_video(folder.generated, generated, tags, scale=scale)
    marks.signed(folder.generated)
    if session.plan.cfg.lossless:
        write_exact(folder.lossless, result, session)
        write_exact_reference(folder.lossless_reference, case, session)
    panels = side_by_side([reference, generated], ["reference", case.prompt], scale)
    write_video(folder.side_by_side, panels, tags)
    marks.signed(folder.side_by_side, COMPOSITE)


def origin(session: Session) -> dict[str, str]:
    """Tags of every video file."""
    return {"config_hash": session.key, "backbone": session.plan.layout.name}


def generated_tags(case: TransferCase, session: Session) -> dict[str, str]:
    """Tags of files that show the generated video."""
    return {"comment": "AI-generated", "title": case.prompt, "generator": "fastvmt"} | origin(session)


def write_exact(file: Path, result: TransferResult, session: Session) -> None:
    """Write a generated video in its own size without loss, with its marks."""
    marks = session.plan.marks
    write_video(file, marks.watermarked(result.video), generated_tags(result.case, session), lossless=True)
    marks.signed(file)


def write_exact_reference(file: Path, case: TransferCase, session: Session) -> None:
    """Write a case's reference, as the model saw it, without loss."""
    write_video(file, case.reference, origin(session), lossless=True)


def write_trace(path: Path, rows: list[dict[str, float]]) -> None:
    """Write loss, gradient norm and reuse per inner iteration, and what the method adds."""
    with path.open("w", newline="") as stream:
        columns = dict.fromkeys(TRACE_COLUMNS) | dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(stream, list(columns))
        writer.writeheader()
        writer.writerows(rows)
