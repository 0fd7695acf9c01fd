"""The weight-free tracker: chained dense inverse search (DIS) optical flow.

Good for statistics of motion directions (drift of about 0.05 pixels per frame); not for articulated
limbs, and a point that disappears never comes back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.settings import LARGEST_SIDE, check_range
from fastvmt.trackers.base import Tracks, check_queries
from fastvmt.trackers.chain import Float, flow_step, tracks_of

SMOOTHING = 0.9
"""Standard deviation of the blur of enlarged frames, native pixels."""


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV on one thread inside the block: the same numbers on every machine."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class DisTracker:
    """Chains forward and backward DIS flow between neighbouring frames.

    Frames are scaled so that their shorter side is ``side`` pixels: the flow's patches need room in
    tiny clips, and large clips gain nothing from more. A point is visible while it is inside the
    frame and the flow there and the flow back cancel.
    """

    def __init__(self, side: int = 320) -> None:
        check_range("tracker.side", side, 64, LARGEST_SIDE)  # the flow needs patches
        self.side = side

    @property
    def id(self) -> str:
        return f"dis side={self.side} opencv={cv2.__version__}"

    def track(self, frames_THWC: Tensor, queries_N3: Tensor) -> Tracks:
        """Tracks of (t, x, y) queries; raises ``ValueError`` for fewer than two frames or a t outside them."""
        check_queries(frames_THWC, queries_N3)
        with one_thread():
            forward, backward = flows(frames_THWC, self.side)
            height, width = forward[0].shape[:2]
            return tracks_of(frames_THWC, queries_N3, (height, width), flow_step(forward, backward))


def grey_frames(frames_THWC: Tensor, side: int) -> NDArray[np.uint8]:
    """Grey frames with even sides, the shorter one about ``side``; enlarged ones smoothed to their old detail."""
    frames = frames_THWC.cpu().numpy()
    ratio = side / min(frames.shape[1:3])
    height, width = (max(2, 2 * round(length * ratio / 2)) for length in frames.shape[1:3])
    how = cv2.INTER_CUBIC if ratio > 1 else cv2.INTER_AREA
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    scaled = [cv2.resize(frame, (width, height), interpolation=how) for frame in grey]
    if ratio > 1:  # pixel noise, once enlarged, would be tracked like texture
        scaled = [cv2.GaussianBlur(frame, (0, 0), SMOOTHING * ratio) for frame in scaled]
    return np.stack(scaled)


def flows(frames_THWC: Tensor, side: int) -> tuple[list[Float], list[Float]]:
    """Flow t -> t+1 and t+1 -> t for every neighbouring pair, each (H, W, 2) as (dx, dy) in :func:`grey_frames`.

    The patch search stops at half the size as in DIS's medium preset, or where enlarged frames hold
    no detail.
    """
    grey_THW = grey_frames(frames_THWC, side)
    ratio = max(grey_THW.shape[1] / frames_THWC.shape[1], grey_THW.shape[2] / frames_THWC.shape[2])
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(max(1, round(math.log2(ratio))))
    pairs = list(zip(grey_THW[:-1], grey_THW[1:], strict=True))

    def flow(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Float:
        return np.asarray(dis.calc(a, b, None), np.float32)  # type: ignore[call-overload]  # its stub lacks None

    return [flow(a, b) for a, b in pairs], [flow(b, a) for a, b in pairs]
