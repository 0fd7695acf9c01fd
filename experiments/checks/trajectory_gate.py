"""How confident is the trajectory score of good, blurred, smeared, redrawn, empty and meaningless videos?

``python -m experiments.checks.trajectory_gate`` tells, per kind of clip and of damage, the range of confidences and the
cosines that go with them: the measurement behind ``fastvmt.world.scores.SURE_OBJECT`` and ``SURE_CAMERA``.
Redrawn clips of a camera have been noised to a level and denoised by tiny-wan, without guidance: what a model
draws is not rigid, and up to a level of 0.7 it moves as the clip did. Writes ``trajectory_gate.json``.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from experiments import command_line
from experiments.embedded import embedded
from experiments.tiny_wan.pairs import smeared
from fastvmt.backbones.base import Backbone
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.sampling import ClassifierFree, denoise, euler_step
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.settings import Sampler
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import Truth, Video
from fastvmt.world.motion import CATEGORIES
from fastvmt.world.scene import Scene, render, sample_scene, sprite
from fastvmt.world.trajectory import trajectory_cosine
from fastvmt.world.vocabulary import canonical_caption

FRAMES = 9
SIZE = 96
SEED = 5
COLUMNS = "least confidence", "median confidence", "greatest confidence", "least cosine", "median cosine"
SIGMAS = (2, 3, 5, 8, 12)
REDRAWN = (0.3, 0.5, 0.7, 0.85)
STEPS = 10
CFG_SCALE = 2.5


def rough(frames_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pale, blurred and noisy frames."""
    rng = np.random.default_rng(0)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in frames_THWC]).astype(np.float32)
    pale = 0.75 * soft + 0.25 * soft.mean((0, 1, 2)) + rng.normal(0, 5, soft.shape)
    return pale.clip(0, 255).astype(np.uint8)


@torch.no_grad()
def redrawn(frames_THWC: NDArray[np.uint8], scene: Scene, backbone: Backbone, sigma: float) -> NDArray[np.uint8]:
    """The clip, noised to ``sigma`` and denoised with its caption."""
    z = backbone.encode(Video(torch.from_numpy(frames_THWC), 8.0))
    text, null = backbone.embed(canonical_caption(list(scene.objects), scene.background)), backbone.embed("")
    start = add_noise(z, seeded_noise(tuple(z.shape), SEED, z.device), sigma)
    sigmas = [sigma * (1 - step / STEPS) for step in range(STEPS + 1)]

    guide = ClassifierFree(backbone, null, Sampler(cfg_scale=CFG_SCALE))

    def step(i: int, x: Tensor, s: float, s_next: float) -> Tensor:
        return euler_step(x, guide(i, x, s, backbone.velocity(x, s, text)), s, s_next)

    x = denoise(start, sigmas, step)
    return np.asarray((255 * backbone.decode(x).clamp(0, 1)).round().byte())


def versions(scene: Scene, seed: int, backbone: Backbone) -> dict[str, NDArray[np.uint8]]:
    """The scene's frames, undamaged and damaged in every way."""
    clip, empty = render(scene, SIZE), render(replace(scene, objects=(), poses=()), SIZE)
    noise = np.random.default_rng(seed).integers(0, 256, clip.frames_THWC.shape)
    videos = {"clean": clip.frames_THWC, "rough": rough(clip.frames_THWC), "noise": noise.astype(np.uint8)}
    if scene.category != "camera":  # there the background carries the motion
        videos |= {f"smeared {sigma} px": smeared(clip, empty, float(sigma)) for sigma in SIGMAS}
        videos["object absent"] = empty.frames_THWC
    else:
        videos |= {f"redrawn from {s}": redrawn(clip.frames_THWC, scene, backbone, s) for s in REDRAWN}
    return videos


def measure(clips: int, backbone: Backbone) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(confidence, cosine) of every clip, by (category, damage)."""
    found = defaultdict(list)
    for category in CATEGORIES:
        for i in track(range(clips), category):
            scene = sample_scene(np.random.default_rng([SEED, i]), FRAMES, category)
            clip = render(scene, SIZE)
            arrays = clip.centres_KT2, clip.tracks_NT2, clip.visible_NT, clip.owner_N
            truth = Truth(*(torch.from_numpy(array) for array in arrays))
            for name, frames in versions(scene, i, backbone).items():
                sprites = [sprite(each) for each in scene.objects]
                result = trajectory_cosine(Video(torch.from_numpy(frames), 8.0), truth, category, sprites, DisTracker())
                found[category, name].append((result.confidence, result.cosine))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=command_line.count, default=12, help="clips per category")
    command_line.add_results(parser)
    arguments = parser.parse_args()
    backbone = embedded()
    table = Table("category", "video", *COLUMNS)
    lines = []
    for (category, name), rows in measure(arguments.clips, backbone).items():
        confidence, cosine = np.array(rows).T
        values = confidence.min(), np.median(confidence), confidence.max(), np.nanmin(cosine), np.nanmedian(cosine)
        table.add_row(category, name, *(f"{value:.2f}" for value in values))
        lines.append({"category": category, "video": name, **dict(zip(COLUMNS, map(float, values), strict=True))})
    Console().print(table)
    write_json(arguments.results / "trajectory_gate.json", {"clips": arguments.clips, "rows": lines, **provenance()})


if __name__ == "__main__":
    command_line.run(main)
