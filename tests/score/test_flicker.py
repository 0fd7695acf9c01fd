"""Temporal flickering is the mean change of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastvmt.score.flicker import TemporalFlickering, temporal_flickering
from fastvmt.types import Video


def test_flickering_is_the_mean_change_of_a_pixel() -> None:
    frames = torch.randint(0, 256, (4, 3, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    change = np.abs(np.diff(frames.numpy().astype(float), axis=0)).mean()
    assert temporal_flickering(frames) == pytest.approx((255 - change) / 255)
    with pytest.raises(ValueError, match="temporal flickering needs at least 2 frames"):
        TemporalFlickering().value(Video(frames[:1].permute(0, 2, 3, 1), 8.0))
    for wrong, message in (
        (frames[:1], "at least 2"),
        (frames / 255, "uint8"),
        (frames.permute(0, 2, 3, 1), "3, H, W"),
    ):
        with pytest.raises(ValueError, match=message):
            temporal_flickering(wrong)
