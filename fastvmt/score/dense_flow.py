"""Optical flow of neighbouring frames at the frames' own resolution: DIS, and RAFT from a local file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.score.weights import WeightSource
from fastvmt.trackers.dis import flows, one_thread
from fastvmt.trackers.raft import LEAST, build_raft, raft_flow

Float = NDArray[np.float32]

RAFT = WeightSource(
    name="raft",
    what="RAFT",
    file="raft_large_C_T_V1-22a6c225.pth",
    origin="torchvision's model files (RAFT large, C_T_V1)",
    licence="BSD-3-Clause",
    size="20 MB",
    override="metrics.weights.raft",
)
SIDE = 320
"""Shorter side of the frames that DIS works on, pixels."""
RAFT_UPDATES = 20


class FlowModel(Protocol):
    """Estimates flow between neighbouring frames."""

    provenance: dict[str, str]

    def forward_flow(self, frames_THWC: Tensor) -> list[Float] | None:
        """T-1 fields (H, W, 2) as (dx, dy) in pixels, or None for frames too small for it."""
        ...


def dis_flow(frames_THWC: Tensor) -> tuple[list[Float], list[Float]]:
    """DIS flow t -> t+1 and t+1 -> t, each (H, W, 2) as (dx, dy) in pixels of the given frames."""
    height, width = frames_THWC.shape[1:3]
    with one_thread():
        forward, backward = flows(frames_THWC, SIDE)
        scale = np.array([width / forward[0].shape[1], height / forward[0].shape[0]], np.float32)
        back = [[cv2.resize(flow, (width, height)) * scale for flow in way] for way in (forward, backward)]
    return back[0], back[1]


class DisFlow:
    """Dense inverse search; needs no weights."""

    provenance = {"id": "OpenCV DIS", "weights_sha256": "", "precision": "float32"}

    def forward_flow(self, frames_THWC: Tensor) -> list[Float]:
        """See :class:`FlowModel`."""
        return dis_flow(frames_THWC)[0]


class RaftFlow:
    """torchvision's large RAFT, 20 updates, float32; pairs are run one at a time."""

    def __init__(self, path: str | Path | None, device: str = "cpu") -> None:
        """``path``: ``raft_large_C_T_V1-22a6c225.pth``, the port of the original "things" weights."""
        found = RAFT.locate(path)
        self.device = device
        self.model = build_raft("large")
        self.provenance = {
            "id": f"torchvision raft_large ({found.path.name})",
            "weights_sha256": found.sha256,
            "precision": "float32",
        }
        found.fill(self.model, "torchvision's large RAFT")
        self.model.to(device)

    def forward_flow(self, frames_THWC: Tensor) -> list[Float] | None:
        """See :class:`FlowModel`; None if a side is below 128 pixels."""
        height, width = frames_THWC.shape[1:3]
        if min(height, width) < LEAST:
            return None
        images = frames_THWC.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        pairs = zip(images[:-1], images[1:], strict=True)
        return [raft_flow(self.model, before, after, RAFT_UPDATES, centred=True) for before, after in pairs]
