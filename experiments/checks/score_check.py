"""What the motion scores say about real clips whose answer is known.

``python -m experiments.checks.score_check CLIPS`` compares each clip with itself: as it is, restyled (colours
inverted, blurred, noisy), reversed, mirrored, frozen and at half speed. Only ``same`` and ``restyled``
move like the clip. Writes ``score_check.json`` and from it ``score_check.md``, which
``--report`` alone rebuilds. Scores that need an encoder of real frames are added by its file, such as
``metrics.clip.model=ViT-B-32.pt metrics.also=[temporal_consistency,background_consistency]``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from experiments import command_line
from fastvmt.compose import composed
from fastvmt.construct import construct
from fastvmt.data.resample import prepare
from fastvmt.data.video_stream import open_video
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.score.motion_fidelity import PUBLISHED, diagonal_of, hybrid_of_tracks, scores_of_tracks
from fastvmt.score.published import compat_det, compat_ditflow, compat_smm, paper
from fastvmt.score.sample import Sample
from fastvmt.score.scores import Scores
from fastvmt.score.tracklets import grid_tracks, tracklets
from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.types import ClipShape, Video

FASTEST = 15
"""Clips are sampled at this rate at most, frames per second."""
STEADINESS = ("temporal_flickering", "motion_smoothness_flow")
"""Scores of steadiness that need no weights."""
FORMULAS = {"paper": paper, "compat_smm": compat_smm, "compat_ditflow": compat_ditflow}
MOVING = 0.2
"""A clip of whose steps at most this share rests counts as one with a moving camera."""
VERTICAL = ("camera-pan-down",)
"""Clips that move up or down: a mirror leaves their motion as it is."""
BANDS = {
    "restyled": (0.98, 1.0),
    "reversed": (-1.0, 0.35),
    "mirrored": (-1.0, 0.35),
    "frozen": (-1.0, 0.05),
    "half speed": (0.45, 0.5),
}
"""Where ``robust`` should lie for a moving camera, as set in advance."""
STILL_BANDS = {"restyled": (0.93, 1.0)}
"""The same for a static camera, before which frozen, reversed and slower motion is a matter of ``dynamic``."""
ROUNDING = 1e-4
WHY = """\
They fail where points move in opposite directions, at once (the camera orbits or follows its subject) or one after \
the other: a reversed or mirrored video then finds partners. A frozen one finds them where some points rest for a \
while. Half speed fails where the motion changes over time or points rest. `fidelity_oracle.md` shows it without this \
score: a second implementation agrees, and only the clip whose bands hold has no track opposite to another."""


def restyled(frames_THWC: Tensor, noise: float = 2.0) -> Tensor:
    """Inverted colours, blur and noise: another look, the same motion."""
    rng = np.random.default_rng(0)
    blurred = np.stack([cv2.GaussianBlur(255 - frame, (0, 0), 0.8) for frame in frames_THWC.numpy()])
    return torch.from_numpy((blurred + rng.normal(0, noise, blurred.shape)).clip(0, 255).astype(np.uint8))


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "same": lambda frames: frames,
    "restyled": restyled,
    "reversed": lambda frames: frames.flip(0),
    "mirrored": lambda frames: frames.flip(2),
    "frozen": lambda frames: frames[:1].expand_as(frames).contiguous(),
    "half speed": lambda frames: frames[torch.arange(len(frames)) // 2],
}


def changed(reference: Video, change: str) -> Video:
    """A clip after one of ``CHANGES``."""
    return Video(CHANGES[change](reference.frames_THWC), reference.fps, f"{reference.name}, {change}")


def clips_of(folder: Path | None, frames: int, height: int, width: int) -> Iterator[tuple[str, Video]]:
    """Name and prepared form of every .mp4 file of a folder; raises ``ValueError`` if there is none."""
    files = sorted(folder.glob("*.mp4")) if folder else []
    if not files:
        raise ValueError(f"{folder or 'CLIPS'} holds no .mp4 files: name a folder of clips")
    for file in files:
        clip = open_video(file)
        yield file.stem, prepare(clip, ClipShape(frames, height, width, 1), fps=min(clip.fps, FASTEST))[0]


def scores_of_clip(reference: Video, tracker: Tracker, steadiness: Scores) -> dict[str, dict[str, Any]]:
    """Scores of every changed version against the clip; each is tracked once per kind of seeds."""

    def tracked(video: Video) -> tuple[Tracks, Tracks, Tracks]:
        full, det = (grid_tracks(video, tracker, PUBLISHED[mode]) for mode in ("compat_ditflow", "compat_det"))
        return tracklets(video, tracker), full, det

    seeds, grid, det_grid = tracked(reference)
    diagonal = diagonal_of(reference, reference)
    rows: dict[str, dict[str, Any]] = {}
    for change in CHANGES:
        video = changed(reference, change)
        a, full, det = tracked(video)
        scores = scores_of_tracks(a, seeds, diagonal)
        rows[change] = {
            "robust": scores.fidelity,
            "dynamic": scores.dynamic,
            "hybrid": hybrid_of_tracks(a, seeds, diagonal),
            **{name: formula(full.points_NT2, grid.points_NT2) for name, formula in FORMULAS.items()},
            "compat_det": compat_det(det.points_NT2, det_grid.points_NT2, *reference.size[1:]),
            "coverage": min(scores.coverage_generated, scores.coverage_reference),
            "static_fraction": scores.static_generated,
            "speed": scores.speed_generated,
            **steadiness.score(Sample(video, None, "")),
        }
    return rows


def band_of(clip: str, change: str, static_fraction: float) -> tuple[float, float] | None:
    """Where ``robust`` should lie, if anything is expected of a clip of which ``static_fraction`` rests."""
    if change == "mirrored" and clip in VERTICAL:
        return None
    return (BANDS if static_fraction <= MOVING else STILL_BANDS).get(change)


def verdicts(rows: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[tuple[str, str], tuple[str, bool]]:
    """The band and whether ``robust`` lies in it, by clip and change; without those of which nothing is expected."""
    found = {}
    for clip, changes in rows.items():
        for change, scores in changes.items():
            rest = changes["same"]["static_fraction"]
            value = scores["robust"]
            band = None if rest is None or value is None else band_of(clip, change, rest)
            if band is not None:
                found[clip, change] = f"{band[0]:g}..{band[1]:g}", band[0] - ROUNDING <= value <= band[1] + ROUNDING
    return found


def band_lines(rows: Mapping[str, Mapping[str, dict[str, Any]]]) -> list[str]:
    """A list of the clips on which each band holds and fails."""
    found = verdicts(rows)
    lines = []
    for change, band in dict.fromkeys((change, band) for (_, change), (band, _) in found.items()):
        parts = []
        for word, wanted in (("holds", True), ("fails", False)):
            clips = [clip for (clip, c), verdict in found.items() if c == change and verdict == (band, wanted)]
            names = ", ".join(f"{clip} {rows[clip][change]['robust']:.2f}" for clip in clips)
            parts.append(f"{word} on {names or 'none'}")
        lines.append(f"- {change}, {band}: {'; '.join(parts)}")
    return lines


def cell(name: str, value: float | None) -> str:
    """A score to two decimals, speeds to four, or n/a."""
    return "n/a" if value is None or value != value else f"{value:.{4 if name == 'speed' else 2}f}"


def markdown(record: dict[str, Any]) -> str:
    """What ``score_check.json`` says: the bands and one row per clip and change."""
    rows = record["rows"]
    columns = list(next(iter(next(iter(rows.values())).values())))
    found = verdicts(rows)
    note = (
        f"Tracker {record['tracker']}; at most {FASTEST} frames per second. `n/a` of a released form (compat): one "
        "step without motion makes it undefined. Coverage is the smaller side's, speed in diagonals per frame."
    )
    bands = (
        f"Acceptance bands of `robust`, set in advance, for moving cameras (at most {MOVING:.0%} of the clip's own "
        f"steps rest) and for mirrored clips that move sideways; of other clips only the restyled form is judged. {WHY}"
    )
    head = ["clip", "change", *columns, "band", "robust in band"]
    lines = [f"`{record['command']}`", "", note, "", bands, "", *band_lines(rows), ""]
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for clip, changes in rows.items():
        for change, scores in changes.items():
            band, within = found.get((clip, change), ("-", None))
            said = "-" if within is None else "holds" if within else "fails"
            cells = [cell(name, scores[name]) for name in columns]
            lines.append(f"| {' | '.join([clip, change, *cells, band, said])} |")
    return "\n".join(lines) + "\n"


def run_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """The record of ``score_check.json``."""
    torch.set_num_threads(1)
    names = f"metrics.names=[{','.join(STEADINESS)}]"
    cfg = composed([f"tracker={arguments.tracker}", names, *arguments.overrides])
    tracker: Tracker = construct(cfg.tracker, "tracker")
    steadiness: Scores = construct(cfg.metrics, "metrics", tracker=tracker)
    size = {name: getattr(arguments, name) for name in ("frames", "height", "width")}
    rows = {}
    for name, reference in clips_of(arguments.clips, **size):
        rows[name] = scores_of_clip(reference, tracker, steadiness)
        line = ", ".join(f"{change} {scores['robust']:.2f}" for change, scores in rows[name].items())
        Console().print(f"{name}: robust {line}")
    chosen = " ".join(f"--{name} {value}" for name, value in {"tracker": arguments.tracker, **size}.items())
    command = f"python -m experiments.checks.score_check CLIPS {chosen}"
    metrics = steadiness.provenance()
    return {"command": command, "tracker": tracker.id, "rows": rows, "metrics": metrics, **provenance()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?", help="folder of .mp4 files")
    parser.add_argument("--tracker", default="dis", help="an option of conf/tracker")
    parser.add_argument("--frames", type=command_line.count, default=24)
    parser.add_argument("--height", type=command_line.count, default=320)
    parser.add_argument("--width", type=command_line.count, default=480)
    command_line.add_results(parser)
    parser.add_argument("--report", action="store_true", help="score nothing, write the table anew")
    parser.add_argument("overrides", nargs="*", help="of tracker and metrics, such as tracker.weights=<file>")
    arguments = parser.parse_intermixed_args()
    if not arguments.report:
        write_json(arguments.results / "score_check.json", run_all(arguments))
    record = json.loads((arguments.results / "score_check.json").read_text())
    (arguments.results / "score_check.md").write_text(markdown(record))


if __name__ == "__main__":
    command_line.run(main)
