"""What the motion scores say about real clips whose answer is known.

``python -m experiments.score_check CLIPS`` compares each clip with itself: as it is, restyled (colours
inverted, blurred, noisy), reversed, mirrored, frozen and at half speed. Only ``same`` and ``restyled``
move like the clip. Writes ``experiments/results/score_check.{json,md}``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from torch import Tensor

from fastvmt.config import config_folder
from fastvmt.data.resample import prepare
from fastvmt.data.video import read_video
from fastvmt.engine.plan import construct
from fastvmt.engine.record import Record, provenance, write_json
from fastvmt.metrics.motion_fidelity import (
    PUBLISHED,
    diagonal_of,
    grid_tracks,
    hybrid_of_tracks,
    scores_of_tracks,
    tracklets,
)
from fastvmt.metrics.published import compat_ditflow
from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.types import Video

RESULTS = Path(__file__).parent / "results"
FASTEST = 15
"""Clips are sampled at this rate at most, frames per second."""


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


def scores_of_clip(reference: Video, tracker: Tracker) -> dict[str, Record]:
    """Scores of every changed version against the clip; each is tracked once per kind of seeds."""

    def tracked(video: Video) -> tuple[Tracks, Tracks]:
        return tracklets(video, tracker), grid_tracks(video, tracker, PUBLISHED["compat_ditflow"])

    seeds, grid = tracked(reference)
    diagonal = diagonal_of(reference, reference)
    rows: dict[str, Record] = {}
    for change in CHANGES:
        a, full = tracked(changed(reference, change))
        scores = scores_of_tracks(a, seeds, diagonal)
        rows[change] = {
            "robust": scores.fidelity,
            "dynamic": scores.dynamic,
            "hybrid": hybrid_of_tracks(a, seeds, diagonal),
            "compat_ditflow": compat_ditflow(full.points_NT2, grid.points_NT2),
            "coverage": min(scores.coverage_generated, scores.coverage_reference),
            "static_fraction": scores.static_generated,
            "speed": scores.speed_generated,
        }
    return rows


def table(rows: dict[str, dict[str, Record]], command: str, note: str) -> str:
    """The scores as markdown, one row per clip and change."""
    columns = list(next(iter(next(iter(rows.values())).values())))
    digits = {"speed": 4}
    header = [f"| clip | change | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    lines = [f"`{command}`", "", note, "", *header]
    for clip, changes in rows.items():
        for change, scores in changes.items():
            cells = [
                "n/a" if math.isnan(value) else f"{value:.{digits.get(name, 2)}f}" for name, value in scores.items()
            ]
            lines.append(f"| {clip} | {change} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of .mp4 files")
    parser.add_argument("--tracker", default="dis", help="an option of conf/tracker")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--height", type=int, default=320)
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("overrides", nargs="*", help="of the tracker, such as tracker.weights=<file>")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        chosen = [f"tracker={arguments.tracker}", "output_dir=unused", *arguments.overrides]
        tracker: Tracker = construct(compose("config", overrides=chosen).tracker, "tracker")
    files = sorted(arguments.clips.glob("*.mp4"))
    if not files:
        raise SystemExit(f"{arguments.clips} holds no .mp4 files")
    frames, height, width = arguments.frames, arguments.height, arguments.width
    rows = {}
    for file in files:
        video = read_video(file)
        size = {"frames": frames, "height": height, "width": width}
        reference, _ = prepare(video, **size, fps=min(video.fps, FASTEST), temporal_factor=1)
        rows[file.stem] = scores_of_clip(reference, tracker)
        line = ", ".join(f"{change} {scores['robust']:.2f}" for change, scores in rows[file.stem].items())
        Console().print(f"{file.stem}: robust {line}")
    command = (
        f"python -m experiments.score_check CLIPS --tracker {arguments.tracker} --frames {frames} "
        f"--height {height} --width {width}"
    )
    note = (
        f"Tracker {tracker.id}; at most {FASTEST} frames per second. `n/a` of compat_ditflow: one step without motion "
        "makes the released formula undefined. Coverage is the smaller side's, speed in diagonals per frame."
    )
    RESULTS.mkdir(exist_ok=True)
    record = {"command": command, "tracker": tracker.id, "rows": rows, **provenance()}
    write_json(RESULTS / "score_check.json", record)
    (RESULTS / "score_check.md").write_text(table(rows, command, note))


if __name__ == "__main__":
    main()
