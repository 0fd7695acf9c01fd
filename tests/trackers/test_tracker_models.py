"""Trackers that need weights or a foreign package, and tracks kept on disk."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fastvmt.cache import TensorCache
from fastvmt.construct import construct
from fastvmt.engine.plan import cache_of, make_tracker
from fastvmt.errors import UserError
from fastvmt.trackers.base import Tracks
from fastvmt.trackers.cached import CachedTracker
from fastvmt.trackers.cotracker import CoTracker3Tracker
from fastvmt.trackers.dis import DisTracker
from fastvmt.trackers.raft import RaftTracker, build_raft, padding, raft_flow
from helpers.config import composed


def frames(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), generator=g, dtype=torch.uint8)


def queries(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rows)


# RAFT.


@pytest.fixture(scope="module")
def raft_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the small architecture, as a checkpoint file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = build_raft("small").state_dict()
    path = tmp_path_factory.mktemp("raft") / "raft_small.pth"
    torch.save(state, path)
    return path


def test_padding_reaches_legal_sides() -> None:
    assert padding(128, 136) == (0, 0)
    assert padding(96, 129) == (32, 7)
    for height in range(1, 300, 7):
        rows, columns = padding(height, 480)
        assert (height + rows) % 8 == 0 and height + rows >= 128 and columns == 0


def test_random_raft_runs_on_any_size(raft_file: Path) -> None:
    tracker = RaftTracker(str(raft_file), "small", updates=2, device="cpu")
    clip = frames(3, 50, 75)
    tracks = tracker.track(clip, queries((0, 5, 5), (1, 30, 20), (2, 74, 49)))
    assert tracks.points_NT2.shape == (3, 3, 2) and tracks.points_NT2.isfinite().all()
    assert tracks.points_NT2[1, 1].tolist() == pytest.approx([30, 20], abs=1e-4)
    assert tracks.visible_NT[torch.arange(3), torch.arange(3)].all()
    scaled = RaftTracker(str(raft_file), "small", updates=1, side=64, device="cpu")
    assert scaled.track(clip, queries((0, 5, 5))).points_NT2.isfinite().all()
    assert scaled.id != tracker.id


def test_raft_sees_replicated_borders_and_returns_the_last_update(raft_file: Path) -> None:
    seen = []

    class Recorder(nn.Module):
        def forward(self, a: Tensor, b: Tensor, num_flow_updates: int) -> list[Tensor]:
            seen.append((a, b, num_flow_updates))
            return [torch.full_like(a[:, :2], float(k)) for k in range(num_flow_updates)]

    first, second = torch.rand(2, 3, 100, 129) * 2 - 1
    flow = raft_flow(Recorder(), first, second, 5)
    ((a, b, updates),) = seen
    assert flow.shape == (100, 129, 2) and (flow == 4).all() and updates == 5
    assert a.shape == b.shape == (1, 3, 128, 136)
    assert torch.equal(a[0, :, :100, :129], first) and torch.equal(b[0, :, :100, :129], second)
    assert torch.equal(a[0, :, 127, :129], first[:, 99]) and torch.equal(a[0, :, :100, 135], first[:, :, 128])


def test_raft_reads_safetensors_too_and_names_itself(raft_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "raft.safetensors"
    save_file(torch.load(raft_file, weights_only=True), other)
    a, b = (RaftTracker(str(path), "small", updates=1, device="cpu") for path in (raft_file, other))
    one, two = (tracker.track(frames(2, 64, 64), queries((0, 5, 5))) for tracker in (a, b))
    assert torch.equal(one.points_NT2, two.points_NT2)
    assert "raft_small" in a.id and a.sha256 in a.id


def test_wrong_weights_are_refused_at_set_up(raft_file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tracker.weights is not set.*raft_large_C_T_SKHT_V2.*20 MB.*BSD"):
        RaftTracker()
    with pytest.raises(FileNotFoundError, match="absent.pth does not exist"):
        RaftTracker(str(tmp_path / "absent.pth"))
    with pytest.raises(ValueError, match="does not fit"):
        RaftTracker(str(raft_file), "large")
    with pytest.raises(ValueError, match=r"tracker\.model=huge"):
        RaftTracker(str(raft_file), "huge")
    with pytest.raises(ValueError, match="updates=0"):
        RaftTracker(str(raft_file), "small", updates=0)
    unsafe = tmp_path / "unsafe.pth"
    torch.save({"tensor": torch.zeros(1), "object": Path("x")}, unsafe)
    with pytest.raises(ValueError, match="not a file of plain tensors"):
        RaftTracker(str(unsafe), "small")
    torch.save([torch.zeros(1)], unsafe)
    with pytest.raises(ValueError, match="not a state dict"):
        RaftTracker(str(unsafe), "small")


# CoTracker3: the package is not on PyPI, so a stand-in with its documented call takes its place.


class StandIn(nn.Module):
    """Moves every point by (1, 2) pixels per frame, and checks how it is called."""

    def __init__(self, checkpoint: str | None, offline: bool, window_len: int) -> None:
        super().__init__()
        assert checkpoint is None and offline and window_len == 60
        self.model = nn.Linear(2, 2)
        self.sizes: list[int] = []

    def forward(self, video: Tensor, queries: Tensor, backward_tracking: bool) -> tuple[Tensor, Tensor]:
        assert video.dtype == queries.dtype == torch.float32 and backward_tracking
        assert video.shape == (1, 5, 3, 40, 56) and video.min() >= 0 and 200 < video.max() <= 255
        assert queries.shape[0] == 1 and queries.shape[2] == 3
        assert torch.equal(self.model.weight, torch.full((2, 2), 3.0))
        self.sizes.append(queries.shape[1])
        time = torch.arange(5.0)[None, :, None] - queries[:, None, :, 0]
        tracks = queries[:, None, :, 1:] + time[..., None] * torch.tensor([1.0, 2.0])
        return tracks, tracks[..., 0] < 55


@pytest.fixture
def cotracker_file(tmp_path: Path) -> Path:
    path = tmp_path / "scaled_offline.pth"
    torch.save({"model": {"weight": torch.full((2, 2), 3.0), "bias": torch.zeros(2)}}, path)
    return path


def test_cotracker_is_called_as_documented(cotracker_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, predictor = ModuleType("cotracker"), ModuleType("cotracker.predictor")
    predictor.CoTrackerPredictor = StandIn
    monkeypatch.setitem(sys.modules, "cotracker", package)
    monkeypatch.setitem(sys.modules, "cotracker.predictor", predictor)
    tracker = CoTracker3Tracker(str(cotracker_file), points=2, device="cpu")
    points = queries((0, 5, 5), (2, 30, 20), (4, 54, 30), (1, 9, 9), (3, 8, 8))
    tracks = tracker.track(frames(5, 40, 56), points)
    assert tracker.predictor.sizes == [2, 2, 1]
    assert tracks.points_NT2.dtype == torch.float32 and tracks.visible_NT.dtype == torch.bool
    time = torch.arange(5.0) - points[:, :1]
    assert torch.equal(tracks.points_NT2, points[:, None, 1:] + time[..., None] * torch.tensor([1.0, 2.0]))
    assert torch.equal(tracks.visible_NT, tracks.points_NT2[..., 0] < 55)
    assert tracker.track(frames(5, 40, 56), torch.zeros(0, 3)).points_NT2.shape == (0, 5, 2)
    with pytest.raises(ValueError, match="query frames"):
        tracker.track(frames(5, 40, 56), queries((5, 1, 1)))


def test_cotracker_names_what_is_missing(cotracker_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"scaled_offline.pth, 100 MB class.*CC-BY-NC 4.0"):
        CoTracker3Tracker()
    monkeypatch.setitem(sys.modules, "cotracker", None)
    with pytest.raises(ImportError, match="pip install git"):
        CoTracker3Tracker(str(cotracker_file))


# Tracks on disk, and the choice of a tracker by configuration.


class Counting(DisTracker):
    calls = 0

    def track(self, frames_THWC: Tensor, queries_N3: Tensor) -> Tracks:
        self.calls += 1
        return super().track(frames_THWC, queries_N3)


def test_tracks_are_computed_once_per_clip_queries_and_tracker(tmp_path: Path) -> None:
    clip, points = frames(3, 64, 64), queries((0, 5, 5), (1, 30, 20))
    inner = Counting()
    tracker = CachedTracker(inner, TensorCache(tmp_path))
    first = tracker.track(clip, points)
    again = CachedTracker(inner, TensorCache(tmp_path)).track(clip, points)
    assert inner.calls == 1 and tracker.id == inner.id
    assert torch.equal(first.points_NT2, again.points_NT2) and torch.equal(first.visible_NT, again.visible_NT)
    assert again.visible_NT.dtype == torch.bool
    changed = clip.clone()
    changed[2, 0, 0, 0] ^= 1
    reshaped = clip.view(3, 32, 128, 3)
    for other, where in ((changed, points), (clip, points + 1e-3), (reshaped, points), (clip[:2], points)):
        calls = inner.calls
        tracker.track(other, where)
        assert inner.calls == calls + 1
    calls = inner.calls
    CachedTracker(Counting(side=64), TensorCache(tmp_path)).track(clip, points)
    assert inner.calls == calls and len(list(tmp_path.glob("*.safetensors"))) == 6


@pytest.mark.parametrize("option", ["dis", "lk"])
def test_weight_free_trackers_come_from_the_configuration(option: str, tmp_path: Path) -> None:
    cfg = composed(f"tracker={option}", f"cache_dir={tmp_path}")
    bare = composed(f"tracker={option}", "cache_dir=null")
    tracker = make_tracker(cfg, cache_of(cfg))
    assert isinstance(tracker, CachedTracker) and tracker.id.startswith(option)
    assert make_tracker(bare, cache_of(bare)).id == tracker.id and not isinstance(
        make_tracker(bare, cache_of(bare)), CachedTracker
    )
    tracker.track(frames(2, 64, 64), queries((0, 5, 5)))
    assert len(list((tmp_path / "tracks").glob("*.safetensors"))) == 1


@pytest.mark.parametrize(("option", "file"), [("raft", "raft_large"), ("cotracker3", "scaled_offline")])
def test_trackers_without_weights_end_in_one_line(option: str, file: str) -> None:
    cfg = composed(f"tracker={option}", "device=cpu")
    with pytest.raises(UserError, match=f"{file}.*does not exist"):
        construct(cfg.tracker, "tracker")
