"""How far tracking errors move the score: motion fidelity with a tracker and with the world's true tracks.

``python -m experiments.checks.tracker_truth`` scores pairs of moving-emoji clips that share all, some or none of
their motion: re-rendered (other objects, other background, same motion), reversed, and another scene of
the same category. Every pair is scored on true tracks, on the tracker's tracks of the same points, and on
the tracker's own points. Writes ``tracker_truth.json``.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from experiments import command_line
from fastvmt.backbones.layout import Layout
from fastvmt.backbones.wan import WanBackbone
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.benchmarks.world import truth_of
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.score.motion_fidelity import scores_of_tracks
from fastvmt.score.tracklets import tracklets
from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.trackers.dis import DisTracker
from fastvmt.trackers.lk import LkTracker
from fastvmt.types import Truth, Video
from fastvmt.world.motion import CATEGORIES
from fastvmt.world.scene import Scene, render
from fastvmt.world.vocabulary import BACKGROUNDS, OBJECTS

KINDS = ("re-rendered", "reversed", "other scene")
TRACKERS = {"dis": DisTracker, "lk": LkTracker}
Clip = tuple[Video, Truth]


def clip_of(scene: Scene, side: int) -> Clip:
    """A rendered scene with its truth."""
    clip = render(scene, side)
    return Video(torch.from_numpy(clip.frames_THWC), 8.0), truth_of(clip)


def recast(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same motion with other objects on another background."""
    others = [name for name in OBJECTS if name not in scene.objects]
    places = [name for name in BACKGROUNDS if name != scene.background]
    objects = tuple(str(name) for name in rng.choice(others, len(scene.objects), replace=False))
    seed = int(rng.integers(2**31))
    return replace(scene, objects=objects, background=str(rng.choice(places)), texture_seed=seed)


def backwards(clip: Clip) -> Clip:
    """A clip and its truth in reversed time."""
    video, truth = clip
    tracks, seen = truth.tracks_NT2.flip(1), truth.visible_NT.flip(1)
    return Video(video.frames_THWC.flip(0), video.fps), replace(truth, tracks_NT2=tracks, visible_NT=seen)


def pairs(layout: Layout, scenes: int) -> list[tuple[str, str, Clip, Clip]]:
    """(kind, category, generated, reference) of every scene, three ways."""
    benchmark = WorldBenchmark(
        layout.clip, 8.0, 0, cases=scenes + len(CATEGORIES), categories=list(CATEGORIES), seed=50
    )
    rng = np.random.default_rng(50)
    result = []
    for index in range(scenes):
        scene, other = benchmark.scene(index)[0], benchmark.scene(index + len(CATEGORIES))[0]
        reference = clip_of(scene, layout.height)
        made = clip_of(recast(scene, rng), layout.height), backwards(reference), clip_of(other, layout.height)
        result += [(kind, scene.category, clip, reference) for kind, clip in zip(KINDS, made, strict=True)]
    return result


def true_tracks(clip: Clip) -> Tracks:
    return Tracks(clip[1].tracks_NT2, clip[1].visible_NT)


def same_points(clip: Clip, tracker: Tracker) -> Tracks:
    """The tracker's tracks of the true points, each from the first frame that shows it."""
    video, truth = clip
    shown = truth.visible_NT.any(1)
    first = truth.visible_NT[shown].int().argmax(1)
    start = truth.tracks_NT2[shown][torch.arange(len(first)), first]
    return tracker.track(video.frames_THWC, torch.cat([first[:, None].float(), start], 1))


def compare(generated: Clip, reference: Clip, tracker: Tracker) -> dict[str, Any]:
    """Robust and dynamic scores of a pair, three ways."""
    diagonal = math.hypot(*reference[0].size[1:])
    ways = {
        "true": [true_tracks(clip) for clip in (generated, reference)],
        "same points": [same_points(clip, tracker) for clip in (generated, reference)],
        "own points": [tracklets(clip[0], tracker) for clip in (generated, reference)],
    }
    scores = {way: scores_of_tracks(*tracks, diagonal) for way, tracks in ways.items()}
    return {way: {"robust": score.fidelity, "dynamic": score.dynamic} for way, score in scores.items()}


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[inverse]


def agreement(found: list[float], true: list[float]) -> dict[str, Any]:
    """Mean absolute difference and Spearman's rank correlation, over pairs where both are defined."""
    x, y = np.array(found), np.array(true)
    valid = np.isfinite(x) & np.isfinite(y)
    x, y = x[valid], y[valid]
    correlation = float(np.corrcoef(ranks(x), ranks(y))[0, 1])
    return {
        "mean_absolute_difference": float(np.abs(x - y).mean()),
        "mean_difference": float((x - y).mean()),
        "rank_correlation": correlation,
        "pairs": int(valid.sum()),
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Agreement with the truth per set of points and score, and mean scores per kind of pair."""
    summary: dict[str, Any] = {}
    for way in ("same points", "own points"):
        for score in ("robust", "dynamic"):
            found, true = ([row["scores"][kind][score] for row in rows] for kind in (way, "true"))
            summary[f"{way}, {score}"] = agreement(found, true)
    for kind in KINDS:
        for way in ("true", "own points"):
            values = [list(row["scores"][way].values()) for row in rows if row["kind"] == kind]
            mean = np.nanmean(np.array(values, float), 0)
            summary[f"mean of {kind}, {way}"] = {"robust": float(mean[0]), "dynamic": float(mean[1])}
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=command_line.count, default=48, help="three pairs each")
    command_line.add_results(parser)
    parser.add_argument("--tracker", default="dis", choices=sorted(TRACKERS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    layout = WanBackbone.layout_of("tiny-wan", name="tiny-wan", frames=9, height=96, width=96, max_tokens=16)
    tracker: Tracker = TRACKERS[arguments.tracker]()
    rows: list[dict[str, Any]] = []
    for kind, category, generated, reference in pairs(layout, arguments.scenes):
        scores = compare(generated, reference, tracker)
        rows.append({"kind": kind, "category": category, "scores": scores})
    summary = summarise(rows)
    for name, values in summary.items():
        Console().print(f"{name}: {', '.join(f'{key} {value:.3f}' for key, value in values.items())}")
    command = f"python -m experiments.checks.tracker_truth --scenes {arguments.scenes} --tracker {arguments.tracker}"
    record = {"command": command, "tracker": tracker.id, "summary": summary, "rows": rows, **provenance()}
    write_json(arguments.results / "tracker_truth.json", record)


if __name__ == "__main__":
    command_line.run(main)
