"""Motion fidelity from a second implementation, and why copies of a clip that move otherwise find partners in it.

``python -m experiments.checks.fidelity_oracle CLIPS`` scores the changed copies of ``score_check`` again with
the code of this file alone: OpenCV and NumPy, no tracker or score of the package, no repairs for tiny clips. Writes
``fidelity_oracle.json`` and ``fidelity_oracle.md`` beside the package's own numbers.

*Opposite* and *mirrored* say, without any score, whether a reversed or mirrored copy can have other directions than
the clip: the share of tracks (visible for half the clip) whose mean direction, negated or mirrored, another track of
the same clip has to within a cosine of 0.9.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from experiments import command_line
from experiments.checks.score_check import changed, clips_of
from experiments.markdown import table
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.score.motion_fidelity import score_motion
from fastvmt.trackers.base import Tracker
from fastvmt.trackers.dis import DisTracker, one_thread
from fastvmt.types import Video

Array = NDArray[np.floating]
GRID = 20
MARGIN = 1 / 64
TEXTURE = 1e-5
BLOCK = 7
STATIC = 3e-4
COMPARED = ("restyled", "reversed", "mirrored", "frozen", "half speed")


@dataclass(frozen=True)
class Steps:
    """Unit directions (N, T, 2), resting (N, T) and visible (N, T) steps of tracks, as 0 and 1."""

    direction: Array
    rests: Array
    seen: Array


def sampled(image: Array, points: Array) -> Array:
    """Bilinear values (N, ...) of an image at points (N, 2)."""
    x, y = (points[:, None, axis].astype(np.float32) for axis in (0, 1))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0])


def follow(points: Array, there: list[Array], back: list[Array]) -> tuple[list[Array], list[NDArray[np.bool_]]]:
    """Where points go along flows, and whether they are still seen."""
    height, width = there[0].shape[:2] if there else (0, 0)
    path, seen = [points], [np.ones(len(points), bool)]
    for forth, reverse in zip(there, back, strict=True):
        flow = sampled(forth, path[-1])
        point = path[-1] + flow
        error, size = flow + sampled(reverse, point), flow**2 + sampled(reverse, point) ** 2
        inside = ((point >= 0) & (point <= (width - 1, height - 1))).all(1)
        path.append(point)
        seen.append(seen[-1] & inside & ((error**2).sum(1) < 0.01 * size.sum(1) + 0.5))
    return path, seen


def steps_of(frames: NDArray[np.uint8]) -> Steps:
    """Steps of tracks from a grid in the first, middle and last of (T, H, W, 3) frames."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    height, width = grey[0].shape
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pairs = list(zip(grey[:-1], grey[1:], strict=True))
    forth = [np.asarray(dis.calc(a, b, None)) for a, b in pairs]  # type: ignore[call-overload]  # its stub lacks None
    back = [np.asarray(dis.calc(b, a, None)) for a, b in pairs]  # type: ignore[call-overload]
    border = MARGIN * width
    x, y = np.meshgrid(np.linspace(border, width - 1 - border, GRID), np.linspace(border, height - 1 - border, GRID))
    points, seen = [], []
    for query in sorted({0, len(grey) // 2, len(grey) - 1}):
        seeds = np.stack([x.ravel(), y.ravel()], 1)
        seeds = seeds[sampled(cv2.cornerMinEigenVal(grey[query], BLOCK), seeds) > TEXTURE]
        later, later_seen = follow(seeds, forth[query:], back[query:])
        sooner, sooner_seen = follow(seeds, back[:query][::-1], forth[:query][::-1])
        points.append(np.stack([*sooner[:0:-1], *later], 1))
        seen.append(np.stack([*sooner_seen[:0:-1], *later_seen], 1))
    path, visible = np.concatenate(points), np.concatenate(seen)
    step = np.diff(path, axis=1)
    length = np.linalg.norm(step, axis=-1)
    rests = length < STATIC * np.hypot(width, height)
    direction = np.where(rests[..., None], 0, step / np.maximum(length, 1e-12)[..., None])
    return Steps(direction, rests.astype(float), (visible[:, 1:] & visible[:, :-1]).astype(float))


def fidelity(a: Steps, b: Steps, least: int) -> float:
    """Mean of precision and recall over pairs of tracks that share ``least`` steps (metric of SMM, symmetric)."""
    alike = np.einsum("atk,at,btk,bt->ab", a.direction, a.seen, b.direction, b.seen, optimize=True)
    alike += (a.rests * a.seen) @ (b.rests * b.seen).T
    shared = a.seen @ b.seen.T
    matrix = np.where(shared >= least, alike / np.maximum(shared, 1), -np.inf)
    best = [matrix.max(axis) for axis in (0, 1)]
    return float(np.mean([side[np.isfinite(side)].mean() for side in best]))


def shares(steps: Steps) -> dict[str, float]:
    """How many tracks have another with the negated, and with the mirrored, mean direction."""
    chosen = steps.seen.sum(1) >= steps.seen.shape[1] / 2
    mean = (steps.direction * steps.seen[..., None]).sum(1)[chosen]
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    wanted = {"opposite": -mean, "mirrored": mean * (-1, 1)}
    return {name: float(((other @ mean.T).max(1) > 0.9).mean()) for name, other in wanted.items()}


def rows_of(video: Video, tracker: Tracker) -> dict[str, dict[str, float]]:
    """By change: the package's score, this file's, and this file's if pairs must share more steps."""
    own = steps_of(video.frames_THWC.numpy())
    count = len(video.frames_THWC) - 1
    rows = {}
    for change in COMPARED:
        copy = changed(video, change)
        steps = steps_of(copy.frames_THWC.numpy())
        least = {"independent": max(8, count // 3), "half": count // 2, "all": count}
        scores = {name: fidelity(steps, own, number) for name, number in least.items()}
        rows[change] = {"package": score_motion(copy, video, tracker).fidelity, **scores}
    return rows


def markdown(record: dict[str, Any]) -> str:
    """What ``fidelity_oracle.json`` says."""
    clips = record["clips"]
    gaps = [abs(row["package"] - row["independent"]) for clip in clips.values() for row in clip["rows"].values()]
    head = ["clip", "opposite", "mirrored", "change", "package", "independent", "sharing half", "sharing all"]
    lines = [
        f"`{record['command']}`",
        "",
        f"Mean absolute difference of package and independent implementation: {np.mean(gaps):.3f}, greatest "
        f"{max(gaps):.2f}, over {len(gaps)} pairs (the precision of a frozen copy is decided by the one "
        "track of the clip that rests for the greatest part of its steps). `opposite` and `mirrored`: share of the "
        "clip's tracks whose negated or mirrored mean direction another of its tracks has. `sharing half`, `all`: the "
        "independent score where a pair must share that part of the steps, not a third.",
        "",
    ]
    cells = []
    for name, clip in clips.items():
        for change, row in clip["rows"].items():
            directions = [f"{clip[share]:.2f}" for share in ("opposite", "mirrored")]
            cells.append([name, *directions, change, *(f"{value:.2f}" for value in row.values())])
    return "\n".join([*lines, *table(head, cells)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of .mp4 files")
    command_line.add_results(parser)
    parser.add_argument("--frames", type=command_line.count, default=24)
    parser.add_argument("--height", type=command_line.count, default=320)
    parser.add_argument("--width", type=command_line.count, default=480)
    arguments = parser.parse_args()
    size = {name: getattr(arguments, name) for name in ("frames", "height", "width")}
    tracker = DisTracker()
    clips = {}
    with one_thread():
        for name, video in clips_of(arguments.clips, **size):
            clips[name] = {**shares(steps_of(video.frames_THWC.numpy())), "rows": rows_of(video, tracker)}
            Console().print(name, clips[name])
    command = f"python -m experiments.checks.fidelity_oracle CLIPS {' '.join(f'--{k} {v}' for k, v in size.items())}"
    record: dict[str, Any] = {"command": command, "tracker": tracker.id, "clips": clips, **provenance()}
    write_json(arguments.results / "fidelity_oracle.json", record)
    (arguments.results / "fidelity_oracle.md").write_text(markdown(record))


if __name__ == "__main__":
    command_line.run(main)
