"""How confident is the trajectory score of good, blurred, smeared, empty and meaningless videos?

``python -m experiments.trajectory_gate`` prints, per kind of clip and of damage, the range of confidences
and the cosines that go with them: the measurement behind ``fastvmt.metrics.scorers.SURE_OBJECT`` and ``SURE_CAMERA``.
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
from rich.table import Table

from experiments.tiny_wan.pairs import smeared
from fastvmt.metrics.trajectory import trajectory_cosine
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import Truth, Video
from fastvmt.world.motion import CATEGORIES
from fastvmt.world.scene import Scene, render, sample_scene, sprite

FRAMES, SIZE, SEED = 9, 96, 5
SIGMAS = (2, 3, 5, 8, 12)


def rough(frames_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pale, blurred and noisy frames."""
    rng = np.random.default_rng(0)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in frames_THWC]).astype(np.float32)
    pale = 0.75 * soft + 0.25 * soft.mean((0, 1, 2)) + rng.normal(0, 5, soft.shape)
    return pale.clip(0, 255).astype(np.uint8)


def versions(scene: Scene, seed: int) -> dict[str, NDArray[np.uint8]]:
    """The scene's frames, undamaged and damaged in every way."""
    clip, empty = render(scene, SIZE), render(replace(scene, objects=(), poses=()), SIZE)
    noise = np.random.default_rng(seed).integers(0, 256, clip.frames_THWC.shape)
    videos = {"clean": clip.frames_THWC, "rough": rough(clip.frames_THWC), "noise": noise.astype(np.uint8)}
    if scene.category != "camera":  # there the background carries the motion
        videos |= {f"smeared {sigma} px": smeared(clip, empty, float(sigma)) for sigma in SIGMAS}
        videos["object absent"] = empty.frames_THWC
    return videos


def measure(clips: int) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(confidence, cosine) of every clip, by (category, damage)."""
    found = defaultdict(list)
    for category in CATEGORIES:
        for i in range(clips):
            scene = sample_scene(np.random.default_rng([SEED, i]), FRAMES, category)
            clip = render(scene, SIZE)
            arrays = clip.centres_KT2, clip.tracks_NT2, clip.visible_NT, clip.owner_N
            truth = Truth(*(torch.from_numpy(array) for array in arrays))
            for name, frames in versions(scene, i).items():
                sprites = [sprite(each) for each in scene.objects]
                result = trajectory_cosine(Video(torch.from_numpy(frames), 8.0), truth, category, sprites, DisTracker())
                found[category, name].append((result.confidence, result.cosine))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=8, help="clips per category")
    table = Table("category", "video", "least", "median", "greatest confidence", "median cosine")
    for (category, name), rows in measure(parser.parse_args().clips).items():
        confidence, cosine = np.array(rows).T
        values = confidence.min(), np.median(confidence), confidence.max(), np.nanmedian(cosine)
        table.add_row(category, name, *(f"{value:.2f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
