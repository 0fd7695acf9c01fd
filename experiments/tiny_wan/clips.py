"""Pools of rendered training clips."""

from __future__ import annotations

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from fastvmt.world.scene import Scene, render, sample_scene

TRAIN, HELD_OUT = 0, 1
"""First word of the seed: training clips and held-out clips never share one."""


def rendered(count: int, frames: int, size: int, seed: int, split: int = TRAIN) -> tuple[Tensor, list[Scene]]:
    """``count`` clips as uint8 (count, frames, size, size, 3) and their scenes."""
    video = torch.empty(count, frames, size, size, 3, dtype=torch.uint8)
    scenes = []
    for i in track(range(count), description=f"rendering {count} clips of {frames} frames"):
        scene = sample_scene(np.random.default_rng([split, seed, i]), frames)
        video[i] = torch.from_numpy(render(scene, size).frames_THWC)
        scenes.append(scene)
    return video, scenes


def to_model(video: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) to float (B, 3, T, H, W) in [-1, 1]."""
    return video.permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0
