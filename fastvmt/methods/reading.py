"""Reading the motion field of latents through one block of a backbone."""

from __future__ import annotations

from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.motion.flow import full_flow
from fastvmt.motion.heads import reduce_heads
from fastvmt.motion.pairs import frame_pairs
from fastvmt.motion.windowed import window_means, windowed_flow
from fastvmt.settings import Guidance, Window
from fastvmt.types import MotionField


def read_motion(
    backbone: Backbone, latents: Tensor, sigma: float, text: Tensor, guidance: Guidance, window: Window
) -> tuple[MotionField, Tensor | None]:
    """The attention motion flow of latents at noise level ``sigma``, differentiable.

    Also each window's mean key (P, T, E), or None where no loss needs it: ``guidance.window_weight=0``,
    or a dense flow (``window.l=0``).
    """
    q, k = backbone.query_key(latents, sigma, text, guidance.block, guidance.rope)
    return motion_of(q, k, backbone.layout.grid, guidance, window)


def motion_of(
    q: Tensor, k: Tensor, grid: tuple[int, int, int], guidance: Guidance, window: Window
) -> tuple[MotionField, Tensor | None]:
    """As :func:`read_motion`, from a block's queries and keys (F, S, N, D)."""
    q, k, scale = reduce_heads(q, k, guidance.head_reduce)
    pairs = frame_pairs(grid[0], window.sf)
    if window.l == 0:
        return full_flow(q, k, pairs, grid, scale * window.tau), None
    field, corner_PT2 = windowed_flow(
        q,
        k,
        pairs,
        grid,
        scale * window.tau,
        tile=(window.tile[0], window.tile[1]),
        side=window.l,
        query=window.query,
        centre_gradient=window.centre_gradient,
    )
    return field, window_means(k, pairs, corner_PT2, grid, window.l) if guidance.window_weight > 0 else None
