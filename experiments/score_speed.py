"""What scoring costs at the size of Wan's videos, on one core.

``python -m experiments.score_speed`` tracks 55 x 55 points with DIS through 81 frames of 480 x 832 pixels
and compares 3,025 with 3,025 tracks of 80 steps. Writes ``score_speed.json``.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from experiments import command_line
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.score.functional import motion_fidelity
from fastvmt.score.tracklets import grid_tracks
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import Video
from fastvmt.world.texture import background

SIDE = 55
TARGETS = {"track_seconds": 10.0, "score_seconds": 2.0, "score_extra_gib": 1.0}
"""Upper limits."""


def panning_clip(frames: int, height: int, width: int) -> Video:
    """A textured plane that moves by one pixel to the left and half a pixel up per frame."""
    canvas = background("brick", np.random.default_rng(0), max(height, width) + frames)
    pixels = torch.from_numpy((canvas * 255).astype(np.uint8))
    windows = [pixels[t // 2 : t // 2 + height, t : t + width] for t in range(frames)]
    return Video(torch.stack(windows).contiguous(), 16.0)


def walks(seed: int, count: int, frames: int) -> tuple[Tensor, Tensor]:
    """Random tracks and their visibility."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, frames, 2, generator=g).cumsum(1), torch.rand(count, frames, generator=g) > 0.1


def peak_gib() -> float:
    """Largest resident memory of this process so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def time_scores(frames: int) -> dict[str, Any]:
    """Seconds and extra memory of robust motion fidelity, measured before anything large was held."""
    (a, seen_a), (b, seen_b) = (walks(seed, SIDE**2, frames) for seed in (0, 1))
    motion_fidelity(a[:100], b[:100], seen_a[:100], seen_b[:100], 960.0)  # libraries warm up
    before = peak_gib()
    start = time.perf_counter()
    motion_fidelity(a, b, seen_a, seen_b, 960.0)
    return {"score_seconds": time.perf_counter() - start, "score_extra_gib": peak_gib() - before}


def time_tracker(frames: int, height: int, width: int) -> dict[str, Any]:
    """Seconds of tracking and the share of visible positions."""
    clip = panning_clip(frames, height, width)
    start = time.perf_counter()
    tracks = grid_tracks(clip, DisTracker(), SIDE)
    return {"track_seconds": time.perf_counter() - start, "visible": float(tracks.visible_NT.float().mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=command_line.count, default=81)
    parser.add_argument("--height", type=command_line.count, default=480)
    parser.add_argument("--width", type=command_line.count, default=832)
    command_line.add_results(parser)
    parser.add_argument("--hardware", default=None, help="named in the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    size = arguments.frames, arguments.height, arguments.width
    measured = time_scores(arguments.frames) | time_tracker(*size)
    met = {name: measured[name] <= limit for name, limit in TARGETS.items()}
    Console().print(measured, met)
    record = {"size": size, "points": SIDE**2, "targets": TARGETS, "met": met, **measured}
    write_json(arguments.results / "score_speed.json", record | {"named_hardware": arguments.hardware} | provenance())


if __name__ == "__main__":
    command_line.run(main)
