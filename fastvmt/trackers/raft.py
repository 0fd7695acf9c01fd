"""RAFT optical flow (Teed and Deng, 2020), chained like DIS; torchvision's model, weights from a local file."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

import fastvmt.torchvision_ops  # noqa: F401  before torchvision is imported
from fastvmt.device import device_of
from fastvmt.settings import LARGEST_COUNT, LARGEST_SIDE, check_choice, check_range
from fastvmt.trackers.base import Tracks, check_queries
from fastvmt.trackers.chain import Float, flow_step, tracks_of
from fastvmt.trackers.weights import find

ORIGIN = "(torchvision's model zoo, download.pytorch.org/models; BSD-3-Clause code)"
FILES = {
    "large": f"raft_large_C_T_SKHT_V2-ff5fadd5.pth, 20 MB class {ORIGIN}",
    "small": f"raft_small_C_T_V2-01064c6d.pth, 4 MB class {ORIGIN}",
}
"""The file that each architecture is best used with."""
LEAST = 128
"""Frame side that RAFT needs: smaller ones turn its correlation pyramid to NaN."""
MULTIPLE = 8
"""What sides are multiples of."""


def build_raft(model: str) -> nn.Module:
    """The untrained architecture, ``large`` or ``small``."""
    check_choice("tracker.model", model, FILES)
    from torchvision.models.optical_flow import raft_large, raft_small

    network: nn.Module = (raft_large if model == "large" else raft_small)(weights=None, progress=False)
    return network


def padding(height: int, width: int) -> tuple[int, int]:
    """Rows and columns to add so that both sides are multiples of 8 and at least 128."""
    rows, columns = (max(LEAST, -(-side // MULTIPLE) * MULTIPLE) - side for side in (height, width))
    return rows, columns


@torch.inference_mode()
def raft_flow(
    network: nn.Module, first_3HW: Tensor, second_3HW: Tensor, updates: int, *, centred: bool = False
) -> Float:
    """Flow (H, W, 2) as (dx, dy) pixels between two RGB frames in [-1, 1], after ``updates`` refinements.

    Frames are padded on all sides (``centred``), or below and on the right.
    """
    height, width = first_3HW.shape[1:]
    rows, columns = padding(height, width)
    top, left = (rows // 2, columns // 2) if centred else (0, 0)
    border = (left, columns - left, top, rows - top)
    a, b = (pad(frame[None], border, mode="replicate") for frame in (first_3HW, second_3HW))
    flow_2HW = network(a, b, num_flow_updates=updates)[-1][0, :, top : top + height, left : left + width]
    flow: Float = flow_2HW.permute(1, 2, 0).contiguous().cpu().numpy()
    return flow


class RaftTracker:
    """Chains forward and backward RAFT flow between neighbouring frames.

    ``side`` scales frames to that shorter side; null keeps their size. RAFT invents small motions
    between nearly identical frames: the threshold below which motion fidelity calls a step static
    removes them.
    """

    def __init__(
        self,
        weights: str | None = None,
        model: str = "large",
        updates: int = 12,
        side: int | None = None,
        device: str = "auto",
    ) -> None:
        check_range("tracker.updates", updates, 1, LARGEST_COUNT)
        if side is not None:
            check_range("tracker.side", side, MULTIPLE, LARGEST_SIDE)
        network = build_raft(model)
        file = find(weights, FILES[model])
        file.fill(network, f"tracker.model={model}")
        self.model = model
        self.updates = updates
        self.side = side
        self.device = device_of(device)
        self.network = network.to(self.device)
        self.sha256 = file.sha256[:16]

    @property
    def id(self) -> str:
        return f"raft_{self.model} updates={self.updates} side={self.side} weights={self.sha256}"

    def track(self, frames_THWC: Tensor, queries_N3: Tensor) -> Tracks:
        """Tracks of (t, x, y) queries; raises ``ValueError`` for fewer than two frames or a t outside them."""
        check_queries(frames_THWC, queries_N3)
        frames = self._working_frames(frames_THWC)
        pairs = list(zip(frames[:-1], frames[1:], strict=True))
        step = flow_step([self._flow(a, b) for a, b in pairs], [self._flow(b, a) for a, b in pairs])
        return tracks_of(frames_THWC, queries_N3, (frames.shape[2], frames.shape[3]), step)

    def _working_frames(self, frames_THWC: Tensor) -> Tensor:
        frames = frames_THWC.permute(0, 3, 1, 2).float() / 127.5 - 1
        if self.side is None:
            return frames
        ratio = self.side / min(frames.shape[2:])
        size = [max(1, round(length * ratio)) for length in frames.shape[2:]]
        return interpolate(frames, size, mode="bilinear", antialias=True)

    def _flow(self, first_3HW: Tensor, second_3HW: Tensor) -> Float:
        return raft_flow(self.network, first_3HW.to(self.device), second_3HW.to(self.device), self.updates)
