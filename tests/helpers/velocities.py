"""Classifier-free guidance of one step, alone."""

from __future__ import annotations

from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.sampling import ClassifierFree
from fastvmt.settings import Sampler


def guided_velocity(
    backbone: Backbone, x: Tensor, sigma: float, text: Tensor, negative: Tensor, cfg_scale: float
) -> Tensor:
    """v = v_neg + scale (v_pos - v_neg), of x's shape; one pass only when the scale is 1."""
    positive = backbone.velocity(x, sigma, text)
    return ClassifierFree(backbone, negative, Sampler(cfg_scale=cfg_scale))(0, x, sigma, positive)
