"""Pools of rendered training clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from fastvmt.world.motion import CATEGORIES
from fastvmt.world.scene import Scene, render, sample_scene

TRAIN, HELD_OUT = 0, 1
"""First word of the seed: training clips and held-out clips never share one."""


def drawn_scenes(
    count: int, frames: int, seed: int, split: int = TRAIN, shares: Sequence[float] | None = None
) -> list[Scene]:
    """``count`` scenes; ``shares`` are those of the categories, None draws as the world does."""
    scenes = []
    for i in range(count):
        rng = np.random.default_rng([split, seed, i])
        category = None if shares is None else str(rng.choice(CATEGORIES, p=shares))
        scenes.append(sample_scene(rng, frames, category))
    return scenes


def rendered(scenes: Sequence[Scene], size: int) -> Tensor:
    """The scenes' clips as uint8 (N, T, size, size, 3)."""
    clips = track(scenes, description=f"rendering {len(scenes)} clips")
    return torch.stack([torch.from_numpy(render(scene, size).frames_THWC) for scene in clips])


def to_model(video: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) to float (B, 3, T, H, W) in [-1, 1]."""
    return video.permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0
