"""Which points can be tracked at all: those on texture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.trackers.dis import one_thread

BLOCK = 7
"""Side of the neighbourhood that a corner response sums over, pixels."""
LEAST = 1e-5
"""Corner response below which nothing can be followed."""
RELATIVE = 0.01
"""The same as a share of the 95th percentile of all points: film grain on a flat wall has a response of
its own (about 2e-5 for noise of 2 grey levels), and what moves there is the grain."""


def corner_response(frame_HWC: Tensor, points_N2: Tensor) -> NDArray[np.float32]:
    """(N,) smaller eigenvalue of the gradient covariance at each point (x, y) of a uint8 RGB frame."""
    grey = cv2.cvtColor(frame_HWC.cpu().numpy(), cv2.COLOR_RGB2GRAY)
    with one_thread():
        response = cv2.cornerMinEigenVal(grey, BLOCK)
    x, y = points_N2.round().long().cpu().numpy().T
    return np.asarray(response[y.clip(0, grey.shape[0] - 1), x.clip(0, grey.shape[1] - 1)], np.float32)


def textured(frame_HWC: Tensor, points_N2: Tensor, at_least: int = 50) -> tuple[NDArray[np.bool_], bool]:
    """(N,) points whose corner response suffices to follow them, and whether texture is low.

    Low texture: fewer than ``at_least`` points pass; then the best ``at_least`` are kept.
    """
    response = corner_response(frame_HWC, points_N2)
    keep = response > max(LEAST, RELATIVE * float(np.percentile(response, 95)))
    if keep.sum() >= min(at_least, len(response)):
        return keep, False
    keep = np.zeros(len(response), bool)
    keep[np.argsort(-response, kind="stable")[:at_least]] = True
    return keep, True
