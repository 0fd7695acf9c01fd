"""FlowMotion (CVPR 2026): motion as the differences between the frames of a predicted clean latent."""

from __future__ import annotations

import torch
from torch import Tensor


def frame_differences(latents_BCFHW: Tensor) -> Tensor:
    """(F + 1, F - 1, B, C, H, W) absolute differences of frames.

    First between neighbours, then, for every frame, to each of the others in order.
    """
    frames = latents_BCFHW.shape[2]
    pairs = [[(f + 1, f) for f in range(frames - 1)]]
    pairs += [[(centre, f) for f in range(frames) if f != centre] for centre in range(frames)]
    one, other = torch.tensor(pairs).to(latents_BCFHW.device, non_blocking=True).unbind(-1)
    y_FBCHW = latents_BCFHW.movedim(2, 0)
    return (y_FBCHW[one] - y_FBCHW[other]).abs()


def clean_loss(generated_BCFHW: Tensor, reference_BCFHW: Tensor, weight: float, difference_weight: float) -> Tensor:
    """Weighted mean squared differences of two clean latents and of their frame differences."""
    # FlowMotion, Eq. 5, with means for sums: L = w |x_0 - r|^2 / n + w_d |Dif(x_0) - Dif(r)|^2 / n_d
    reference = reference_BCFHW.detach()
    differences = frame_differences(generated_BCFHW) - frame_differences(reference)
    return weight * (generated_BCFHW - reference).square().mean() + difference_weight * differences.square().mean()


def regularised(velocity_BCFHW: Tensor, mean_BCFHW: Tensor, keep: float) -> Tensor:
    """The velocity with its part across the mean velocity, per position over the channels, scaled by ``keep``."""
    # FlowMotion, Eq. 7: v_par = (v vbar / |vbar|^2) vbar; Eq. 8: v' = v_par + keep (v - v_par)
    squared = mean_BCFHW.square().sum(1, keepdim=True)
    along = (velocity_BCFHW * mean_BCFHW).sum(1, keepdim=True) / squared.clamp(min=torch.finfo(squared.dtype).tiny)
    parallel = along * mean_BCFHW
    return parallel + keep * (velocity_BCFHW - parallel)
