"""Discrete Frechet distance against its recursion, and the score that mixes it with motion fidelity."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastvmt.score.frechet import (
    discrete_frechet,
    farthest_points,
    frechet_similarity,
    hybrid,
    sparse,
    trajectory_recall,
)
from fastvmt.score.functional import motion_fidelity

DIAGONAL = 100.0


def by_recursion(a: np.ndarray, b: np.ndarray) -> float:
    """The coupling distance as Eiter and Mannila define it."""

    @cache
    def c(i: int, j: int) -> float:
        d = float(np.linalg.norm(a[i] - b[j]))
        before = [c(k, m) for k, m in ((i - 1, j), (i - 1, j - 1), (i, j - 1)) if k >= 0 and m >= 0]
        return max(d, min(before)) if before else d

    return c(len(a) - 1, len(b) - 1)


def walks(seed: int, count: int, frames: int, hidden: float = 0.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    points = 100 * torch.rand(count, 1, 2, generator=g) + torch.randn(count, frames, 2, generator=g).cumsum(1)
    return points, torch.rand(count, frames, generator=g) >= hidden


@given(seed=st.integers(0, 10_000), t=st.integers(1, 9), s=st.integers(1, 9))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_matches_the_recursion(seed: int, t: int, s: int) -> None:
    a, b = walks(seed, 3, t)[0], walks(seed + 1, 3, s)[0]
    expected = [by_recursion(x, y) for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True)]
    assert discrete_frechet(a, b).tolist() == pytest.approx(expected, abs=1e-4)
    assert discrete_frechet(b, a).tolist() == pytest.approx(expected, abs=1e-4)


def test_waiting_costs_nothing_and_shape_counts() -> None:
    a = walks(0, 1, 8)[0]
    assert discrete_frechet(a, a.repeat_interleave(3, 1)).item() == 0
    assert discrete_frechet(a, a[:, [0, 0, 1, 2, 3, 4, 5, 6, 7, 7]]).item() == 0
    assert discrete_frechet(a, a + torch.tensor([3.0, 4.0])).item() <= 5 + 1e-4
    with pytest.raises(ValueError, match="need a position"):
        discrete_frechet(a[:, :0], a)


def test_similarity_compares_the_common_stretch() -> None:
    """Pairs one by one: the frames that both show, start-aligned, by recursion."""
    (a, seen_a), (b, seen_b) = walks(0, 5, 12, 0.2), walks(1, 40, 12, 0.2)
    a, b = a / DIAGONAL, b / DIAGONAL
    similarity = frechet_similarity(a, b, seen_a, seen_b)
    for i in range(5):
        for j in range(40):
            both = (seen_a[i] & seen_b[j]).numpy()
            if both.sum() <= 8:
                assert similarity[i, j] == -torch.inf
                continue
            x, y = a[i].double().numpy()[both], b[j].double().numpy()[both]
            expected = math.exp(-by_recursion(x - x[0], y - y[0]) / 0.1)
            assert similarity[i, j].item() == pytest.approx(expected, abs=1e-4)


def test_farthest_points_cover() -> None:
    g = torch.Generator().manual_seed(0)
    points = torch.rand(400, 2, generator=g)
    chosen = farthest_points(points, 20)
    assert len(set(chosen.tolist())) == 20
    radius = torch.cdist(points, points[chosen]).amin(1).max()
    random = torch.cdist(points, points[torch.randperm(400, generator=g)[:20]]).amin(1).max()
    assert radius < 0.25 and radius < random
    assert farthest_points(points[:5], 20).tolist() == [0, 1, 2, 3, 4]
    order = torch.randperm(400, generator=g)
    assert set(order[farthest_points(points[order], 20)].tolist()) == set(chosen.tolist())


def test_sparse_keeps_whole_tracks() -> None:
    points, seen = walks(0, 300, 81)
    seen[:40, 5:] = False  # too short to compare
    thin, visible = sparse(points, seen)
    assert thin.shape == (256, 32, 2) and visible.all()
    assert sparse(points[:0], seen[:0])[0].shape == (0, 32, 2)
    assert torch.equal(sparse(points[50:60, :20], seen[50:60, :20])[0], points[50:60, :20])


def test_recall_matches_loops() -> None:
    (a, seen_a), (b, seen_b) = walks(2, 9, 10), walks(3, 7, 10)
    best = []
    for y in b.double().numpy() / DIAGONAL:
        best.append(max(math.exp(-by_recursion(x - x[0], y - y[0]) / 0.1) for x in a.double().numpy() / DIAGONAL))
    assert trajectory_recall(a, b, seen_a, seen_b, DIAGONAL) == pytest.approx(np.mean(best), abs=1e-4)


def test_hybrid_is_half_and_half_and_invariant() -> None:
    (a, seen_a), (b, seen_b) = walks(2, 9, 12, 0.1), walks(3, 7, 12, 0.1)
    base = hybrid(a, b, seen_a, seen_b, DIAGONAL)
    local = motion_fidelity(a, b, seen_a, seen_b, DIAGONAL).fidelity
    assert base == pytest.approx((local + trajectory_recall(a, b, seen_a, seen_b, DIAGONAL)) / 2)
    assert hybrid(a, a, seen_a, seen_a, DIAGONAL) == pytest.approx(1, abs=1e-5)
    assert hybrid(a + 17, b, seen_a, seen_b, DIAGONAL) == pytest.approx(base, abs=1e-3)
    assert hybrid(4 * a, 4 * b, seen_a, seen_b, 4 * DIAGONAL) == pytest.approx(base, abs=1e-3)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    assert hybrid(a[order], b, seen_a[order], seen_b, DIAGONAL) == pytest.approx(base, abs=1e-5)
    spoilt = torch.where(seen_a[..., None], a, torch.nan)
    assert hybrid(spoilt, b, seen_a, seen_b, DIAGONAL) == pytest.approx(base, abs=1e-5)


def test_hybrid_is_undefined_without_tracks() -> None:
    a, seen = walks(0, 4, 9)
    assert math.isnan(hybrid(a[:0], a, seen[:0], seen, DIAGONAL))
    assert math.isnan(hybrid(a, a, seen & False, seen, DIAGONAL))
    with pytest.raises(ValueError, match="same number of frames"):
        hybrid(a, a[:, :5], seen, seen[:, :5], DIAGONAL)


def test_hybrid_sees_the_extent_that_directions_ignore() -> None:
    time = torch.arange(12.0)[None, :, None] * torch.tensor([1.0, 0.0])
    seen = torch.ones(1, 12, dtype=torch.bool)
    assert motion_fidelity(time, 3 * time, seen, seen, DIAGONAL).fidelity == pytest.approx(1)
    assert hybrid(time, 3 * time, seen, seen, DIAGONAL) == pytest.approx(0.5 + 0.5 * math.exp(-0.22 / 0.1), abs=1e-4)
