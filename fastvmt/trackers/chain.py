"""From steps between neighbouring frames to tracks: what all trackers without memory share.

A point that is lost is never found again. It keeps drifting with the flow, because scores that
ignore visibility read its positions too.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.trackers.base import Tracks, check_queries

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Step = Callable[[int, int, Float], tuple[Float, Bool]]
"""(a, b, points of frame a (N, 2)) -> the points in the neighbouring frame b, and which could be followed."""


def sample(field: Float, points_N2: Float) -> Float:
    """Bilinear values (N, C) of a field (H, W, C) at (x, y) points; clamped at the border."""
    x, y = np.ascontiguousarray(points_N2[:, None, 0]), np.ascontiguousarray(points_N2[:, None, 1])
    return np.asarray(cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)[:, 0]


def flow_step(forward: list[Float], backward: list[Float]) -> Step:
    """A step along dense flow: ``forward[t]`` from t to t + 1 and ``backward[t]`` from t + 1 to t, (H, W, 2).

    A point is followed where ``|F + B|^2 < 0.01 (|F|^2 + |B|^2) + 0.5`` (forward-backward check).
    """

    def step(a: int, b: int, points_N2: Float) -> tuple[Float, Bool]:
        there, back = (forward[a], backward[a]) if b > a else (backward[b], forward[b])
        flow = sample(there, points_N2)
        moved = points_N2 + flow
        returned = sample(back, moved)
        slack = 0.01 * ((flow**2).sum(1) + (returned**2).sum(1)) + 0.5
        return moved, ((flow + returned) ** 2).sum(1) < slack

    return step


def follow(
    step: Step, start_N: NDArray[np.int64], seeds_N2: Float, frames: int, size: tuple[int, int]
) -> tuple[Float, Bool]:
    """Points (N, T, 2) and visibility (N, T) both ways in time from frame ``start_N``.

    Points are visible while they are followed and inside the frame of ``size`` (height, width).
    """
    points = np.repeat(seeds_N2[:, None], frames, 1)
    visible = np.zeros((len(seeds_N2), frames), bool)
    if len(seeds_N2) == 0:
        return points, visible
    visible[np.arange(len(seeds_N2)), start_N] = True
    limit = np.array([size[1] - 1, size[0] - 1], np.float32)
    onward = [(t, t + 1, start_N <= t) for t in range(frames - 1)]
    for a, b, started in onward + [(t, t - 1, start_N >= t) for t in range(frames - 1, 0, -1)]:
        if not started.any():
            continue
        moved, kept = step(a, b, np.ascontiguousarray(points[started, a]))
        inside = ((moved >= 0) & (moved <= limit)).all(1)
        points[started, b] = moved
        visible[started, b] = visible[started, a] & kept & inside
    return points, visible


def tracks_of(frames_THWC: Tensor, queries_N3: Tensor, size: tuple[int, int], step: Step) -> Tracks:
    """Tracks in the frames' own pixels, by steps on copies of ``size`` (height, width)."""
    check_queries(frames_THWC, queries_N3)
    frames, height, width = frames_THWC.shape[:3]
    queries = queries_N3.cpu().numpy().astype(np.float32)
    ratio = np.array([size[1] / width, size[0] / height], np.float32)
    seeds = (queries[:, 1:] + 0.5) * ratio - 0.5
    points, visible = follow(step, queries[:, 0].astype(np.int64), seeds, frames, size)
    return Tracks(torch.from_numpy((points + 0.5) / ratio - 0.5), torch.from_numpy(visible))
