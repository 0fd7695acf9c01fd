"""``python -m fastvmt.adopt``: clips that another system made of a study's cases become a row of it."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastvmt.cache import content_key
from fastvmt.cost.cost import Cost, Energy
from fastvmt.data.alignment import align
from fastvmt.data.frame_folder import clip_sha256, is_frame_folder
from fastvmt.data.panel import side_by_side
from fastvmt.data.triples import VIDEOS
from fastvmt.data.video import write_video
from fastvmt.engine.again import cases_of, check_cases, own_runs, recomposed
from fastvmt.engine.case_files import VIEW_SIDE
from fastvmt.engine.loaded import Loaded
from fastvmt.engine.plan import make_plan
from fastvmt.engine.quiet import quiet_libraries
from fastvmt.engine.record import Making, record_of
from fastvmt.engine.session import Session
from fastvmt.errors import UserError
from fastvmt.files import write_json
from fastvmt.results.case_record import VERSION, CaseRecord
from fastvmt.results.columns import mean_scores
from fastvmt.results.folder import RunFolder, slug
from fastvmt.results.provenance import provenance
from fastvmt.score.files import Policy, as_generated, tags
from fastvmt.score.networks import clip_path
from fastvmt.studies.command_line import command_parser
from fastvmt.studies.rows import read_rows, runs_of
from fastvmt.studies.table_command import FORMS, make_table, short_table
from fastvmt.types import PassCounter, TransferCase, Video

EXAMPLES = """
example:
  python -m fastvmt.adopt clips/ --row "official code" --study outputs/windows

A clip is named after a case, with - for /: the case ball/p0/s0 is clips/ball-p0-s0.mp4, or a folder of pictures of that
name. Larger clips are scaled and cropped to the study's size; of as many frames as the cases have, frame i is compared
with frame i, others are sampled at the reference's rate and must be long enough. Costs are n/a.
"""
ELSEWHERE = {"commit": "none", "hardware": "elsewhere", "fastvmt": "none", "torch": "none"}
FOLDER_FPS = 24.0
"""Of folders of pictures, which state none."""


def adopt(clips: Path, name: str, study: Path) -> list[str]:
    """Score the clips in a folder and write the row; returns the ids of cases without a clip.

    Raises :class:`UserError` for what the user can mend, and ``ValueError`` for files that cannot be read.
    """
    if (study / "result.json").is_file():
        raise UserError(f"--study {study} is a single run: clips join the rows of a sweep (run.py -m)")
    runs = own_runs(runs_of(study))
    if not runs:
        raise UserError(f"--study {study} holds no finished run of this program, whose cases the clips could be of")
    target = target_of(study, name)
    run = RunFolder(read_rows([run.path for run in runs])[0].folder)
    plan = make_plan(recomposed(run))
    check_cases(plan.cases, run)
    cases = list(cases_of(plan.cases, run))
    found = {case.id: clip for case in cases if (clip := clip_of(clips, case.id)) is not None}
    if not found:
        raise UserError(f"{clips} has no clip of a case, such as {slug(cases[0].id)}.mp4")
    with quiet_libraries():
        session = Session(plan, Loaded(plan))
        read = {case.id: comparable(found[case.id], case) for case in cases if case.id in found}
        records = [
            write_adopted(session, target, case, found[case.id], read[case.id]) for case in cases if case.id in found
        ]
    write_json(target.result, adopted_content(session, run.content(), records, name))
    return [case.id for case in cases if case.id not in found]


def target_of(study: Path, name: str) -> RunFolder:
    """Give the folder of a row of clips: a new one, the row's own, or what a stopped command left of it.

    Raises :class:`UserError` for a name that is none or that another row's folder has.
    """
    if not name.strip():
        raise UserError("--row is empty: give the row a name, such as 'official code'")
    target = RunFolder(study / "rows" / slug(name))
    own = (target.content()["row"] or {}).get("name") == name if target.result.is_file() else is_left(target.path)
    if target.path.exists() and not own:
        raise UserError(f"--row {name}: {target.path} is another row's folder, give another name")
    return target


def is_left(folder: Path) -> bool:
    """Whether a folder holds cases at most, as a stopped command leaves it: a run begins with its other files."""
    return folder.is_dir() and all(file.name == "cases" for file in folder.iterdir())


def clip_of(folder: Path, case_id: str) -> Path | None:
    """Find the clip of a case: a video file or a folder of pictures."""
    options = [folder / f"{slug(case_id)}{suffix}" for suffix in (*VIDEOS, "")]
    return next((path for path in options if path.is_file() or is_frame_folder(path)), None)


def comparable(clip: Path, case: TransferCase) -> Video:
    """Read a clip in the size, rate and length of a case. Raises :class:`UserError` for one that is too short."""
    frames, *size = case.reference.size
    made, _ = as_generated(clip, Policy(folder_fps=FOLDER_FPS, size=(size[0], size[1])), "generated")
    if made.size[0] != frames:
        made, _, _ = align(made, case.reference, "truncate")
    if made.size[0] != frames:
        told = f"{made.size[0]} frames at {made.fps:g} per second, its case {frames} at {case.reference.fps:g}"
        raise UserError(f"{clip} has {told}: give clips of {frames} frames, or longer ones")
    return Video(made.frames_THWC, case.reference.fps, made.name)


def write_adopted(session: Session, target: RunFolder, case: TransferCase, clip: Path, video: Video) -> CaseRecord:
    """Score a clip, and write its record and videos."""
    folder = target.case(case.id)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.clear()
    scale = max(1, VIEW_SIDE // video.size[1])
    write_video(folder.reference, replace(case.reference, name="reference"), scale=scale)
    write_video(folder.generated, video, scale=scale)
    panels = side_by_side([case.reference, video], ["reference", case.prompt], scale)
    write_video(folder.side_by_side, panels)
    judged = session.judged(case, video, without=strangers(session, clip))
    record = record_of(case, video, judged, session.scores, made_elsewhere(clip_sha256(clip)))
    record = replace(record, files=folder.hashes())
    write_json(folder.record, record.to_json())
    return record


def strangers(session: Session, clip: Path) -> set[str]:
    """Name the scores whose judge knows nothing but what the study's model makes, for a clip of another one."""
    cfg = session.plan.cfg
    model = cfg.metrics.clip.model
    shipped = clip_path(model) != model
    if not shipped or tags(clip).get("backbone") == cfg.backbone.name:
        return set()
    return {name for name, metric in session.scores.metrics.items() if model in str(metric.source.get("id"))}


def made_elsewhere(sha256: str) -> Making:
    """Give the making of a clip that nobody here has seen: no passes, no seconds, no weights."""
    return Making(
        config=content_key(adopted=sha256),
        weights="none",
        seconds={},
        passes=PassCounter(),
        declared_passes=PassCounter(),
        cost=unknown_cost(),
        reference_cache={},
        peak_memory_gib={},
        device="elsewhere",
        maker=ELSEWHERE,
    )


def unknown_cost() -> Cost:
    """Give the account of what nobody measured."""
    unseen = Energy(None, "made elsewhere", None, None, None)
    return Cost(
        seconds={},
        wall_seconds={},
        host_bound=None,
        process_cpu_seconds=math.nan,
        cpu_seconds={},
        others_cpu_seconds=math.nan,
        contended=False,
        threads=0,
        memory_gib={},
        energy=unseen,
        cpu_energy=unseen,
        transformer_flops=None,
    )


def adopted_content(session: Session, own: dict[str, Any], records: Sequence[CaseRecord], name: str) -> dict[str, Any]:
    """Give what ``result.json`` holds: scores, cases, and of the study's row ``own`` what they were scored by."""
    return {
        "version": VERSION,
        "scores": mean_scores(records),
        "seconds": {},
        "diverged": 0,
        "costs": {},
        "cases": [record.to_json() for record in sorted(records, key=lambda record: record.id)],
        "lost": [],
        "metrics": session.scores.provenance() | {"scored_from": "file"},
        "method": name,
        "overrides": [],
        "row": {"name": name, "values": {}, "job": 0},
        "config_hash": content_key(adopted=name),
        "config": own["config"],
        **provenance(),
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_parser("adopt", "Make clips of another system a row of a study.", EXAMPLES)
    p.add_argument("clips", type=Path, help="folder of clips, named after the study's cases")
    p.add_argument("--row", required=True, metavar="NAME", help="name of the row")
    p.add_argument("--study", type=Path, required=True, metavar="FOLDER", help="of a sweep")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    study: Path = arguments.study
    try:
        without = adopt(arguments.clips, arguments.row, study)
        make_table([study], None, study)
        sys.stdout.write(f"{short_table(study)}\nwritten: {study}/table.{{{','.join(FORMS)}}}\n")
    except (UserError, ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.adopt: {error}\n")
        return 2
    if without:
        sys.stdout.write(f"cases without a clip ({len(without)}): {', '.join(without)}\n")
    return 0
