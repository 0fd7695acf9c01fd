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
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.trackers.base import Tracks

Float = NDArray[np.float32]

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
        if side < 64:
            raise ValueError(f"side={side} must be at least 64: the flow needs patches. Set tracker.side=<value>")
        self.side = side

    def track(self, frames_THWC: Tensor, queries_N3: Tensor) -> Tracks:
        """Tracks of (t, x, y) queries; raises ``ValueError`` for fewer than two frames or a t outside them."""
        frames = frames_THWC.cpu().numpy()
        queries = queries_N3.cpu().numpy().astype(np.float32)
        start = queries[:, 0].astype(np.int64)
        if len(frames) < 2:
            raise ValueError(f"tracking needs at least 2 frames, got {len(frames)}")
        if len(start) and not (0 <= start.min() and start.max() < len(frames)):
            raise ValueError(f"query frames must be in [0, {len(frames) - 1}], got {start.min()}..{start.max()}")
        with one_thread():
            grey = self._working_frames(frames)
            ratio = np.array([grey.shape[2] / frames.shape[2], grey.shape[1] / frames.shape[1]], np.float32)
            seeds = (queries[:, 1:] + 0.5) * ratio - 0.5
            forward, backward = flows(grey, finest_scale=max(1, round(math.log2(ratio.max()))))
            points, visible = chain(forward, backward, start, seeds)
            past = chain(backward[::-1], forward[::-1], len(frames) - 1 - start, seeds)
        before = np.arange(len(frames)) < start[:, None]
        points = np.where(before[..., None], past[0][:, ::-1], points)
        visible = np.where(before, past[1][:, ::-1], visible)
        return Tracks(torch.from_numpy((points + 0.5) / ratio - 0.5), torch.from_numpy(visible))

    def _working_frames(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Grey frames with even sides, the shorter one about ``side``; enlarged ones smoothed to their old detail."""
        ratio = self.side / min(frames.shape[1:3])
        height, width = (max(2, 2 * round(length * ratio / 2)) for length in frames.shape[1:3])
        how = cv2.INTER_CUBIC if ratio > 1 else cv2.INTER_AREA
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        scaled = [cv2.resize(frame, (width, height), interpolation=how) for frame in grey]
        if ratio > 1:  # pixel noise, once enlarged, would be tracked like texture
            scaled = [cv2.GaussianBlur(frame, (0, 0), SMOOTHING * ratio) for frame in scaled]
        return np.stack(scaled)


def flows(grey_THW: NDArray[np.uint8], finest_scale: int) -> tuple[list[Float], list[Float]]:
    """Flow t -> t+1 and t+1 -> t for every neighbouring pair, each (H, W, 2) as (dx, dy).

    The patch search stops at 2 ** -``finest_scale`` of the size: 1 is DIS's medium preset, and frames
    that were enlarged hold no detail below their own size.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(finest_scale)
    pairs = list(zip(grey_THW[:-1], grey_THW[1:], strict=True))

    def flow(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Float:
        return np.asarray(dis.calc(a, b, None), np.float32)  # type: ignore[call-overload]  # its stub lacks None

    return [flow(a, b) for a, b in pairs], [flow(b, a) for a, b in pairs]


def sample(field: Float, points_N2: Float) -> Float:
    """Bilinear values (N, C) of a field (H, W, C) at (x, y) points; clamped at the border."""
    x, y = np.ascontiguousarray(points_N2[:, None, 0]), np.ascontiguousarray(points_N2[:, None, 1])
    return np.asarray(cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)[:, 0]


def chain(
    forward: list[Float], backward: list[Float], start_N: NDArray[np.int64], seeds_N2: Float
) -> tuple[Float, NDArray[np.bool_]]:
    """Points (N, T, 2) and visibility (N, T) from frame ``start_N`` on; invisible before it.

    A step is kept where ``|F + B|^2 < 0.01 (|F|^2 + |B|^2) + 0.5`` (forward-backward check).
    """
    count, frames = len(seeds_N2), len(forward) + 1
    points = np.repeat(seeds_N2[:, None], frames, 1)
    visible = np.zeros((count, frames), bool)
    visible[np.arange(count), start_N] = True
    if count == 0:
        return points, visible
    limit = np.array(forward[0].shape[1::-1], np.float32) - 1
    for t, (there, back) in enumerate(zip(forward, backward, strict=True)):
        flow = sample(there, points[:, t])
        moved = points[:, t] + flow
        returned = sample(back, moved)
        slack = 0.01 * ((flow**2).sum(1) + (returned**2).sum(1)) + 0.5
        kept = ((moved >= 0) & (moved <= limit)).all(1) & (((flow + returned) ** 2).sum(1) < slack)
        alive = visible[:, t] & kept
        points[alive, t + 1 :] = moved[alive, None]
        visible[:, t + 1] |= alive
    return points, visible
