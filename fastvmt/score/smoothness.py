"""Motion smoothness: can every second frame be predicted from its neighbours?"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.score.amt import AMT, CHECKOUT
from fastvmt.score.dense_flow import dis_flow
from fastvmt.score.metric import VideoMetric, need_frames
from fastvmt.score.networks import Networks
from fastvmt.score.preprocess import check_frames
from fastvmt.score.registry import score
from fastvmt.trackers.dis import one_thread
from fastvmt.types import Video

HALF = np.float32(0.5)


class Interpolator(Protocol):
    """Predicts the frame half-way between neighbours."""

    provenance: dict[str, str]

    def between(self, frames_THWC: Tensor) -> Tensor:
        """uint8 frames to the T-1 uint8 frames between them."""
        ...


def interpolation_score(true_THWC: Tensor, predicted_THWC: Tensor) -> float:
    """(255 - mean |true - predicted|) / 255 of uint8 frames; in [0, 1], higher is smoother (Huang et al., 2024).

    Example:
        >>> true = torch.full((1, 2, 2, 3), 100, dtype=torch.uint8)
        >>> interpolation_score(true, true + 51)
        0.8
    """
    return (255 - float((true_THWC.double() - predicted_THWC.double()).abs().mean())) / 255


def motion_smoothness(frames_TCHW: Tensor, interpolator: Interpolator) -> float:
    """Keep frames 0, 2, 4, ..., predict those between, compare with the true ones (VBench, Huang et al., 2024).

    In [0, 1], a frozen video scores 1. With an even number of frames the last is unused. Raises
    ``ValueError`` unless it gets uint8 (T, 3, H, W) with T >= 3.

    Example:
        >>> motion_smoothness(torch.full((3, 3, 96, 96), 7, dtype=torch.uint8), DisInterpolator())
        1.0
    """
    check_frames(frames_TCHW, 3)
    frames_THWC = frames_TCHW.permute(0, 2, 3, 1).contiguous()
    kept = frames_THWC[::2]
    true = frames_THWC[1::2][: len(kept) - 1]
    return interpolation_score(true, interpolator.between(kept))


class DisInterpolator:
    """Half-way warps of both neighbours along DIS flow, averaged; values are truncated to uint8."""

    provenance = {"id": "OpenCV DIS half-way warp", "weights_sha256": "", "precision": "float32"}

    def between(self, frames_THWC: Tensor) -> Tensor:
        """See :class:`Interpolator`."""
        frames = frames_THWC.cpu().numpy()
        there, back = dis_flow(frames_THWC)
        middle = []
        with one_thread():
            for before, after, forward, backward in zip(frames[:-1], frames[1:], there, back, strict=True):
                ahead, behind = warped(before, HALF * forward), warped(after, HALF * backward)
                middle.append(np.clip((ahead + behind) / 2, 0, 255).astype(np.uint8))
        return torch.from_numpy(np.stack(middle))


def warped(frame_HWC: NDArray[np.uint8], flow_HW2: NDArray[np.float32]) -> NDArray[np.float32]:
    """The frame moved along a flow: pixel x shows what was at x - flow(x), bilinear, borders replicated."""
    y, x = np.mgrid[: frame_HWC.shape[0], : frame_HWC.shape[1]].astype(np.float32)
    frame = frame_HWC.astype(np.float32)
    moved = cv2.remap(
        frame, x - flow_HW2[..., 0], y - flow_HW2[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)


class MotionSmoothness(VideoMetric):
    """:func:`motion_smoothness` with AMT-S (:class:`fastvmt.score.amt.AmtInterpolator`), in [0, 1].

    With :class:`DisInterpolator`, for machines without AMT, the same formula is not VBench's column. ``suffix``
    ends the column's name.

    Example:
        >>> still = torch.arange(192, dtype=torch.uint8).view(1, 3, 8, 8).expand(3, -1, -1, -1)
        >>> metric = MotionSmoothness(DisInterpolator())
        >>> metric.update(still, index=[0])
        >>> metric.compute().item()
        1.0
    """

    def __init__(self, interpolator: Interpolator, suffix: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.interpolator = interpolator
        self.columns = (f"motion_smoothness{suffix}",)

    @property
    def source(self) -> dict[str, Any]:
        return dict(self.interpolator.provenance)

    def value(self, video: Video) -> float:
        need_frames(video, 3, "motion smoothness")
        return motion_smoothness(video.frames_THWC.permute(0, 3, 1, 2), self.interpolator)


@score(
    "motion_smoothness",
    definition="1 - mean error / 255 of every second frame as AMT-S predicts it",
    source="VBench (Huang et al., 2024)",
    range="0..1",
    limits="the video is frozen, which scores 1",
    weights=(AMT, CHECKOUT),
)
def amt(networks: Networks) -> MotionSmoothness:
    return MotionSmoothness(networks.amt)


@score(
    "motion_smoothness_flow",
    definition="motion_smoothness with half-way warps along DIS flow",
    source="VBench (Huang et al., 2024)",
    range="0..1",
    limits="the video is frozen, which scores 1; not comparable with VBench's column",
)
def flow(networks: Networks) -> MotionSmoothness:
    return MotionSmoothness(DisInterpolator(), "_flow")
