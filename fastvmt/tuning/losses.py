"""What the tuned parameters minimise: velocity errors, their debiased form, and the scatter along tracks.

MotionDirector: arXiv 2310.08465; DeT: arXiv 2503.17350.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout


def mean_square(error: Tensor) -> Tensor:
    """||error||^2 / size: of the velocity, the flow-matching loss."""
    return error.square().mean()


def debiased(error_BCFHW: Tensor, anchor: int, beta: float = 1.0) -> Tensor:
    """phi of an error, in which what the frames have in common, their appearance, weighs less.

    phi is linear, so the error of phi(v) is phi of the error.
    """
    # MotionDirector, Eq. 5: phi(e)_i = sqrt(beta^2 + 1) e_i - beta e_a
    return math.sqrt(beta**2 + 1) * error_BCFHW - beta * error_BCFHW[:, :, anchor : anchor + 1]


def latent_cells(points_NT2: Tensor, visible_NT: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """(row, column) (N, F, 2) of the latent cell that holds each point, and visibility (N, F).

    Points are (x, y) in pixels of a clip of the layout's size; every ``temporal_factor``-th frame is read.
    """
    step = layout.temporal_factor
    cells = ((points_NT2[:, ::step].flip(-1) + 0.5) / layout.spatial_factor).floor().long()
    last = torch.tensor(layout.latent_shape[3:], device=cells.device) - 1
    return cells.clamp(min=torch.zeros_like(last), max=last), visible_NT[:, ::step]


def tracking_loss(latents_BCFHW: Tensor, cells_NF2: Tensor, visible_NF: Tensor) -> Tensor:
    """Mean over points, frames f >= 1 and channels of visible (e_f - e_{f-1})^2, e the latent at the point (DeT)."""
    frames = torch.arange(cells_NF2.shape[1], device=cells_NF2.device)
    along_NFC = latents_BCFHW[0].permute(1, 2, 3, 0)[frames, cells_NF2[..., 0], cells_NF2[..., 1]]
    both = (visible_NF[:, 1:] & visible_NF[:, :-1])[..., None]
    return (along_NFC.diff(dim=1).square() * both).mean()
