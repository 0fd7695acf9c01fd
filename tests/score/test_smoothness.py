"""Motion smoothness: every second frame against what its neighbours predict."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastvmt.score.smoothness import DisInterpolator, MotionSmoothness, motion_smoothness
from fastvmt.types import Video
from helpers.clips import pan


class Nearest:
    """Says that the frame between is the one before."""

    provenance = {"id": "nearest"}

    def between(self, frames_THWC: Tensor) -> Tensor:
        return frames_THWC[:-1]


@pytest.mark.parametrize(("frames", "pairs"), [(3, 1), (4, 1), (5, 2), (8, 3)])
def test_smoothness_compares_every_second_frame(frames: int, pairs: int) -> None:
    clip = torch.randint(0, 256, (frames, 6, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    errors = [(clip[2 * i + 1].double() - clip[2 * i].double()).abs().mean() for i in range(pairs)]
    expected = (255 - float(torch.stack(errors).mean())) / 255
    assert motion_smoothness(clip.permute(0, 3, 1, 2), Nearest()) == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 3 frames"):
        motion_smoothness(clip[:2].permute(0, 3, 1, 2), Nearest())
    with pytest.raises(ValueError, match="at least 3 frames"):
        MotionSmoothness(Nearest()).value(Video(clip[:2], 8.0))


def test_smooth_motion_is_predicted_and_jerks_and_noise_are_not() -> None:
    metric, video = MotionSmoothness(DisInterpolator()), pan(9, (3, 1))
    smooth = metric.value(video)
    still = motion_smoothness(video.frames_THWC.permute(0, 3, 1, 2), Nearest())
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = metric.value(Video(video.frames_THWC[order], 8.0))
    noise = 8 * torch.randn(video.frames_THWC.shape, generator=torch.Generator().manual_seed(0))
    noisy = metric.value(Video((video.frames_THWC + noise).clamp(0, 255).byte(), 8.0))
    assert smooth > 0.985 and smooth > still  # flow helps over taking the neighbour
    assert shuffled < smooth - 0.02
    assert 0.01 < smooth - noisy < 0.04
    middle = DisInterpolator().between(video.frames_THWC[::2])
    inner = (middle[0].float() - video.frames_THWC[1].float()).abs()[16:-16, 16:-16]
    assert inner.mean() < 1.5
