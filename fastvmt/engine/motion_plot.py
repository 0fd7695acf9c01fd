"""A picture of two motion fields: the reference's above the generated video's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.methods.reading import read_motion
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.settings import Guidance, Window
from fastvmt.types import MotionField, TransferResult, Video

READ_AT = 0.3
"""Noise level at which both fields are read for the picture."""


@torch.no_grad()
def clean_field(backbone: Backbone, latents: Tensor, guidance: Guidance, window: Window) -> MotionField:
    """The dense motion field between neighbouring latent frames of finished latents."""
    noise = seeded_noise(tuple(latents.shape), guidance.reference_seed, backbone.device)
    noisy = add_noise(latents.to(backbone.device), noise, READ_AT)
    return read_motion(backbone, noisy, READ_AT, backbone.embed(""), guidance, replace(window, l=0, sf=1))[0]


def draw_row(axes: list[Axes], video: Video, field: MotionField, factor: int, label: str) -> None:
    """Frames with the displacement to the next latent frame as arrows."""
    _, height, width = field.grid
    _, tall, wide = video.size
    rows, columns = np.mgrid[:height, :width]
    x, y = (columns + 0.5) * wide / width, (rows + 0.5) * tall / height
    stride = max(1, round(height / 14))
    keep = (slice(None, None, stride), slice(None, None, stride))
    for pair, axis in enumerate(axes):
        flow: NDArray[np.float32] = field.flow_PS2[pair].reshape(height, width, 2).cpu().numpy()
        dy, dx = flow[..., 0] * tall / height, flow[..., 1] * wide / width
        axis.imshow(video.frames_THWC[pair * factor].numpy())
        axis.quiver(
            x[keep],
            y[keep],
            dx[keep],
            dy[keep],
            np.hypot(dx, dy)[keep],
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.008,
            cmap="autumn",
        )
        axis.set(xticks=[], yticks=[], xlim=(0, wide), ylim=(tall, 0))
        axis.set_title(f"{label}, frame {pair * factor}", fontsize=8)


def plot_motion(path: Path, backbone: Backbone, result: TransferResult, guidance: Guidance, window: Window) -> None:
    """Write the picture of a result's reference and generated motion fields."""
    factor = backbone.layout.temporal_factor
    latents = (backbone.encode(result.case.reference), result.latents_BCFHW)
    videos = (result.case.reference, result.video)
    shown = min(backbone.layout.grid[0] - 1, 8)
    figure = Figure(figsize=(2.2 * shown, 4.8), layout="constrained")
    grid = figure.subplots(2, shown, squeeze=False)
    for row, (label, video, z) in enumerate(zip(("reference", "generated"), videos, latents, strict=True)):
        draw_row(list(grid[row]), video, clean_field(backbone, z, guidance, window), factor, label)
    figure.savefig(path, dpi=110)
