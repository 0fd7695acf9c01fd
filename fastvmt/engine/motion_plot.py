"""A picture of two motion fields: the reference's above the generated video's."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.methods.reading import read_motion
from fastvmt.results.doubts import doubted
from fastvmt.results.tables import COVERAGE, MOTION, shown_score
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.settings import Guidance, Window
from fastvmt.types import MotionField, TransferResult, Video

READ_AT = 0.3
"""Noise level at which both fields are read for the picture."""
PANEL = 2.2
"""Width and height of a frame, inches."""
DPI = 110
"""Pixels of the picture per inch."""
LETTERS = 24
"""Of a line of text above a panel of that width."""
Flow = NDArray[np.float32]


@torch.no_grad()
def clean_field(backbone: Backbone, latents: Tensor, guidance: Guidance, window: Window) -> MotionField:
    """The dense motion field between neighbouring latent frames of finished latents."""
    noise = seeded_noise(tuple(latents.shape), guidance.reference_seed, backbone.device)
    noisy = add_noise(latents.to(backbone.device), noise, READ_AT)
    return read_motion(backbone, noisy, READ_AT, backbone.embed(""), guidance, replace(window, l=0, sf=1))[0]


def pixels(field: MotionField, video: Video) -> Flow:
    """Displacements (pairs, H, W, 2) as (x, y) in pixels of the video."""
    _, height, width = field.grid
    _, tall, wide = video.size
    flow: Flow = field.flow_PS2.reshape(-1, height, width, 2).cpu().numpy()[..., ::-1]
    return flow * np.array([wide / width, tall / height], np.float32)


def draw_row(axes: list[Axes], video: Video, flow_PHW2: Flow, factor: int, label: str, longest: float) -> Quiver:
    """Frames with the displacement to the next latent frame as arrows, whose colour is their length up to ``longest``.

    Returns the last frame's arrows.
    """
    _, height, width, _ = flow_PHW2.shape
    _, tall, wide = video.size
    rows, columns = np.mgrid[:height, :width]
    x, y = (columns + 0.5) * wide / width, (rows + 0.5) * tall / height
    stride = max(1, round(height / 14))
    keep = (slice(None, None, stride), slice(None, None, stride))
    for pair, axis in enumerate(axes):
        dx, dy = (flow_PHW2[pair, ..., i][keep] for i in range(2))
        axis.imshow(video.frames_THWC[pair * factor].numpy())
        arrows = axis.quiver(
            x[keep],
            y[keep],
            dx,
            dy,
            np.hypot(dx, dy),
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.008,
            cmap="autumn",
            clim=(0, longest),
        )
        axis.set(xticks=[], yticks=[], xlim=(0, wide), ylim=(tall, 0))
        axis.set_title(f"{label}, frame {pair * factor}", fontsize=8)
    return arrows


def round_length(longest: float) -> float:
    """The longest of 1, 2, 5 times a power of ten that is not above ``longest`` pixels.

    Example:
        >>> round_length(7.3), round_length(0.4), round_length(0.0)
        (5.0, 0.2, 1.0)
    """
    if longest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(longest))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= longest)


def heading(prompt: str, scores: Mapping[str, float] | None, width: int) -> str:
    """The prompt in at most two lines of ``width`` letters, and the scores where they are known."""
    lines = textwrap.wrap(prompt, width, max_lines=2, placeholder="...")
    if scores is not None and MOTION in scores:
        told = (f"{name.replace('_', ' ')} {shown_score(scores, name)}" for name in (MOTION, COVERAGE[0]))
        doubts = "".join(f"; {doubt.sign} {doubt.why}" for doubt in doubted(scores, MOTION))
        lines += textwrap.wrap(f"when generated: {', '.join(told)}{doubts}", width)
    return "\n".join(lines)


def plot_motion(
    path: Path,
    backbone: Backbone,
    result: TransferResult,
    guidance: Guidance,
    window: Window,
    scores: Mapping[str, float] | None = None,
) -> None:
    """Write the picture of a result's reference and generated motion fields, with its prompt, scores and a legend."""
    factor = backbone.layout.temporal_factor
    latents = (backbone.encode(result.case.reference), result.latents_BCFHW)
    videos = (result.case.reference, result.video)
    flows = [pixels(clean_field(backbone, z, guidance, window), v) for v, z in zip(videos, latents, strict=True)]
    longest = max(float(np.linalg.norm(flow, axis=-1).max()) for flow in flows)
    shown = min(backbone.layout.grid[0] - 1, 8)
    figure = Figure(figsize=(PANEL * shown, 2 * PANEL + 1.2), layout="constrained")
    grid = figure.subplots(2, shown, squeeze=False)
    for row, (label, video, flow) in enumerate(zip(("reference", "generated"), videos, flows, strict=True)):
        arrows = draw_row(list(grid[row]), video, flow, factor, label, longest)
    plain = {"fontsize": 8, "parse_math": False}  # a prompt may hold dollars
    figure.suptitle(heading(result.case.prompt, scores, LETTERS * shown), **plain)
    read = f"attention of block {guidance.block} at noise level {READ_AT:g}; arrows: the way to the next latent frame"
    legend = textwrap.wrap(read, LETTERS * shown)
    figure.supxlabel("\n".join(["", *legend]), **plain)  # the arrow's scale stands in the first line
    y = (0.16 * len(legend) + 0.08) / figure.get_figheight()
    length = round_length(longest)
    key = {"coordinates": "figure", "labelpos": "E", "fontproperties": {"size": 8}, "color": "black"}
    grid[1][-1].quiverkey(arrows, 0.5, y, length, f"{length:g} px", **key)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # letters that the font lacks show as boxes
        figure.savefig(path, dpi=DPI)
