"""Chance level of motion fidelity: what a run's videos score against references that they do not follow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from omegaconf import OmegaConf

from fastvmt.data.alignment import evenly
from fastvmt.engine.cases import make_cases
from fastvmt.engine.identity import cell_key
from fastvmt.engine.plan import cache_of, make_tracker, read_layout
from fastvmt.engine.recall import pixels
from fastvmt.engine.session import cells_of
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.cells import Cell
from fastvmt.results.columns import healthy
from fastvmt.results.folder import RunFolder
from fastvmt.results.provenance import frames_sha256
from fastvmt.results.statistics import FEWEST, reference_of
from fastvmt.score.motion_fidelity import diagonal_of, scores_of_tracks
from fastvmt.score.tracklets import tracklets
from fastvmt.studies.rows import Row
from fastvmt.studies.table import Chance
from fastvmt.trackers.base import Tracks
from fastvmt.types import Video

OTHERS = 6
"""References that every video is compared with, at most; evenly spread over those of the run."""


def chance_level(row: Row) -> Chance:
    """Measure motion fidelity between the videos of a finished run and references of its other cases.

    The pixels are the exact ones, below the run's ``cache_dir`` or in its folder; the tracker, its kept tracks and the
    frames are those of its scores. Raises ``ValueError`` for fewer than ``FEWEST`` references whose pixels are there.
    """
    cfg = OmegaConf.create(dict(row.config))
    references = references_of(row)
    made = [(record, video) for record in healthy(row.records) if (video := generated(row, record)) is not None]
    names = [name for name in references if any(reference_of(record.id) == name for record, _ in made)]
    if len(names) < FEWEST:
        raise ValueError(
            f"--chance needs videos of at least {FEWEST} references in exact pixels, {row.folder} has {len(names)}: "
            f"they are below cache_dir={cfg.cache_dir}, or in the run's folder with lossless=true"
        )
    tracker = make_tracker(cfg, cache_of(cfg))
    frames = cfg.metrics.frames

    def tracks(clip: Video) -> Tracks:
        return tracklets(clip if frames is None else evenly(clip, frames), tracker)

    theirs = {name: tracks(references[name]) for name in names}
    found = []
    for record, video in made:
        mine = tracks(video)
        for name in others(names, reference_of(record.id)):
            scores = scores_of_tracks(mine, theirs[name], diagonal_of(video, references[name]))
            found.append((scores.fidelity, scores.dynamic))
    fidelity, dynamic = np.nanmean(np.array(found), axis=0).tolist()
    return Chance(fidelity, dynamic, len(found), len(names))


def others(names: list[str], own: str) -> Iterator[str]:
    """Give some of the other names, evenly spread behind the own one."""
    if own in names:
        count = len(names)
        at = names.index(own)
        most = min(OTHERS, count - 1)
        yield from (names[(at + 1 + k * (count - 1) // most) % count] for k in range(most))


def references_of(row: Row) -> dict[str, Video]:
    """Read the references of a run's cases again, by name; those that are no longer what the run saw are left out."""
    cfg = OmegaConf.create(dict(row.config))
    cases = {case.id: case for case in make_cases(cfg, read_layout(cfg.backbone))}
    found: dict[str, Video] = {}
    for record in (record for record in row.records if record.id in cases):
        reference = cases[record.id].reference
        if frames_sha256(reference) == record.frames_sha256["reference"]:
            found.setdefault(reference_of(record.id), reference)
    return found


def generated(row: Row, record: CaseRecord) -> Video | None:
    """Read what a case generated, as it was scored; None where those pixels are not kept."""
    cell = cells_of(OmegaConf.create(dict(row.config))).find(cell_key(record.identity))
    video = None if cell is None else pixels(cell)
    return pixels(Cell(RunFolder(row.folder).case(record.id), record)) if video is None else video
