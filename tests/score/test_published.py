"""Published formulas of motion fidelity against loops written from their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fastvmt.score.published import compat_det, compat_ditflow, compat_smm, paper

HEIGHT, WIDTH = 60, 100


def walks(seed: int, count: int, frames: int) -> Tensor:
    """Random tracks that move in every step."""
    g = torch.Generator().manual_seed(seed)
    return 50 + torch.randn(count, frames, 2, generator=g).cumsum(1)


def cosine(u: np.ndarray, v: np.ndarray) -> float:
    lengths = np.linalg.norm(u), np.linalg.norm(v)
    return float(u @ v / (lengths[0] * lengths[1])) if min(lengths) > 0 else math.nan


def correlation(a: np.ndarray, b: np.ndarray, still: float = math.nan) -> float:
    """Mean cosine of simultaneous velocities of two tracks (T, 2)."""
    terms = [cosine(a[t + 1] - a[t], b[t + 1] - b[t]) for t in range(len(a) - 1)]
    return sum(still if math.isnan(term) else term for term in terms) / len(terms)


def matrix(a: Tensor, b: Tensor, still: float = math.nan) -> np.ndarray:
    return np.array([[correlation(x, y, still) for y in b.double().numpy()] for x in a.double().numpy()])


def test_paper_matches_loops() -> None:
    a, b = walks(0, 7, 6), walks(1, 5, 6)
    a[2, 3:] = a[2, 3]  # rests for two steps
    corr = matrix(a, b, still=0.0)
    assert paper(a, b) == pytest.approx((corr.max(1).mean() + corr.max(0).mean()) / 2, abs=1e-5)
    assert paper(a, b) == pytest.approx(paper(b, a), abs=1e-6)
    assert paper(a, a) == pytest.approx((6 + 3 / 5) / 7, abs=1e-5)  # a resting step counts 0 even against itself


def test_compat_smm_matches_loops() -> None:
    a, b = walks(0, 6, 6), walks(1, 6, 6)
    corr = matrix(a, b) - np.eye(6)
    assert compat_smm(a, b) == pytest.approx(corr.max(1).mean(), abs=1e-5)
    assert compat_smm(a, b) != pytest.approx(compat_smm(b, a), abs=1e-3)  # one-sided


def test_one_resting_step_makes_the_released_formula_undefined() -> None:
    a, b = walks(0, 6, 6), walks(1, 6, 6)
    b[4, 3] = b[4, 2]
    for mine, theirs in ((a, b), (b, a)):
        assert math.isnan(compat_smm(mine, theirs)) and math.isnan(compat_ditflow(mine, theirs))
        assert math.isnan(compat_det(mine, theirs, HEIGHT, WIDTH))
        assert math.isfinite(paper(mine, theirs))


def test_compat_ditflow_truncates() -> None:
    a, b = walks(0, 6, 9), walks(1, 6, 6)
    assert compat_ditflow(a, b) == compat_smm(a[:, :6], b)
    with pytest.raises(ValueError, match="got 9 and 6"):
        compat_smm(a, b)


def test_compat_det_matches_loops() -> None:
    a, b = walks(0, 6, 9), walks(1, 4, 6)
    a, b = a.abs() + 1, b.abs() + 1
    index = [int(8 * i / 5) for i in range(6)]  # nine frames thinned to six, rounded down
    size = np.array([WIDTH, HEIGHT])
    x, y = a[:, index].double().numpy() / size, b.double().numpy() / size
    corr = np.zeros((6, 4))
    for i in range(6):
        for j in range(4):
            terms = [cosine(x[i, 0], y[j, 0])]
            terms += [cosine(x[i, t + 1] - x[i, t], y[j, t + 1] - y[j, t]) for t in range(5)]
            corr[i, j] = np.mean(terms)
    assert compat_det(a, b, HEIGHT, WIDTH) == pytest.approx(corr.max(1).mean(), abs=1e-5)


def test_the_first_position_counts_as_a_velocity() -> None:
    """Two random positions in a frame have an expected cosine of about 0.84."""
    g = torch.Generator().manual_seed(0)
    size = torch.tensor([WIDTH, HEIGHT])
    step = torch.randn(400, 2, 2, generator=g)
    start = torch.rand(400, 2, 2, generator=g) * size
    values = [
        compat_det(*(torch.stack([p, p + s])[None] for p, s in zip(start[i], step[i], strict=True)), HEIGHT, WIDTH)
        for i in range(400)
    ]
    assert np.mean(values) == pytest.approx(0.84 / 2, abs=0.04)


@pytest.mark.parametrize("formula", [paper, compat_smm, compat_ditflow])
def test_invariances(formula) -> None:
    a, b = walks(0, 8, 7), walks(1, 8, 7)
    base = formula(a, b)
    assert formula(a + 13, b) == pytest.approx(base, abs=1e-4)
    assert formula(3 * a, b / 5) == pytest.approx(base, abs=1e-4)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    assert formula(a[order], b[order]) == pytest.approx(base, abs=1e-5)  # together: the identity pairs them


@pytest.mark.parametrize("formula", [paper, compat_smm, compat_ditflow, lambda a, b: compat_det(a, b, HEIGHT, WIDTH)])
def test_undefined_and_illegal(formula) -> None:
    a = walks(0, 4, 6)
    for pair in ((a[:0], a[:0]), (a, a[:0]), (a[:0], a)):  # a video without texture has no tracks
        assert math.isnan(formula(*pair))
    for frames in (0, 1):
        with pytest.raises(ValueError, match="at least 2"):
            formula(a[:, :frames], a[:, :frames])


def test_unequal_grids() -> None:
    with pytest.raises(ValueError, match="got 4 generated and 3 reference"):
        compat_smm(walks(0, 4, 6), walks(0, 3, 6))
    assert math.isfinite(paper(walks(0, 4, 6), walks(0, 3, 6)))
    with pytest.raises(ValueError, match="got 6 and 7"):
        paper(walks(0, 4, 6), walks(0, 4, 7))


def test_chunks_are_seams_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = walks(0, 20, 6), walks(1, 20, 6)
    whole = paper(a, b), compat_smm(a, b), compat_det(a, b, HEIGHT, WIDTH)
    monkeypatch.setattr("fastvmt.score.published.CHUNK", 3)
    assert (paper(a, b), compat_smm(a, b), compat_det(a, b, HEIGHT, WIDTH)) == pytest.approx(whole, abs=1e-6)


def test_chance_level_falls_with_the_number_of_frames() -> None:
    """Best of 3025 random walks: about 0.62, 0.51, 0.36 at 16, 24, 49 frames."""
    for frames, level in ((16, 0.62), (24, 0.51), (49, 0.36)):
        assert compat_smm(walks(0, 3025, frames), walks(1, 3025, frames)) == pytest.approx(level, abs=0.03)
