"""CoTracker3 (Karaev et al., 2024), the tracker of published motion fidelity; package and weights are the user's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fastvmt.device import device_of
from fastvmt.settings import LARGEST_COUNT, check_range
from fastvmt.trackers.base import Tracks, check_queries
from fastvmt.trackers.weights import find

NEED = "scaled_offline.pth, 100 MB class (github.com/facebookresearch/co-tracker, CC-BY-NC 4.0: no commercial use)"


def build_cotracker3(window: int) -> nn.Module:
    """The offline predictor without weights. Raises ``ImportError`` when the package is missing."""
    try:
        from cotracker.predictor import CoTrackerPredictor
    except ImportError as error:
        raise ImportError(
            "tracker=cotracker3 needs the package cotracker, which its authors distribute only as a repository: "
            "pip install git+https://github.com/facebookresearch/co-tracker (CC-BY-NC 4.0), or use tracker=dis"
        ) from error
    predictor: nn.Module = CoTrackerPredictor(checkpoint=None, offline=True, window_len=window)
    return predictor


class CoTracker3Tracker:
    """Follows points through occlusions, ``points`` at a time to bound memory (which grows with T x N).

    The predictor resizes frames to its own size and reports visibility itself; points of one chunk
    see each other, so ``points`` changes tracks a little. Grids of points are ours, given as queries: that of
    the package's ``grid_size`` has its margin, a 64th of the width, in the resized frame, so that it differs
    vertically wherever a frame is not 4:3.
    """

    def __init__(self, weights: str | None = None, points: int = 1024, window: int = 60, device: str = "auto") -> None:
        check_range("tracker.points", points, 1, 10 * LARGEST_COUNT)
        check_range("tracker.window", window, 2, LARGEST_COUNT)
        file = find(weights, NEED)
        predictor = build_cotracker3(window)
        file.fill(predictor.get_submodule("model"), f"CoTracker3 with tracker.window={window}")
        self.points = points
        self.window = window
        self.device = device_of(device)
        self.predictor = predictor.to(self.device)
        self.sha256 = file.sha256[:16]

    @property
    def id(self) -> str:
        return f"cotracker3 window={self.window} points={self.points} weights={self.sha256}"

    def track(self, frames_THWC: Tensor, queries_N3: Tensor) -> Tracks:
        """Tracks of (t, x, y) queries; raises ``ValueError`` for fewer than two frames or a t outside them."""
        check_queries(frames_THWC, queries_N3)
        video_1TCHW = frames_THWC.permute(0, 3, 1, 2)[None].float().to(self.device)
        return track_chunks(self.predictor, video_1TCHW, queries_N3.float().to(self.device), self.points)


@torch.no_grad()
def track_chunks(
    predictor: Callable[..., tuple[Tensor, Tensor]], video_1TCHW: Tensor, queries_N3: Tensor, points: int
) -> Tracks:
    """Call a CoTracker predictor on at most ``points`` queries at a time, in both directions of time."""
    frames = video_1TCHW.shape[1]
    positions, visible = [torch.zeros(0, frames, 2)], [torch.zeros(0, frames, dtype=torch.bool)]
    for first in range(0, len(queries_N3), points):
        queries_1n3 = queries_N3[None, first : first + points]
        tracks_1Tn2, seen_1Tn = predictor(video_1TCHW, queries=queries_1n3, backward_tracking=True)
        positions.append(tracks_1Tn2[0].transpose(0, 1).float().cpu())
        visible.append(seen_1Tn[0].T.bool().cpu())
    return Tracks(torch.cat(positions), torch.cat(visible))
