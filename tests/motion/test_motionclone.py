"""MotionClone against explicit softmaxes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from fastvmt.methods.motionclone import ramp
from fastvmt.motion.motionclone import self_hits, sparse_loss, strongest, temporal_probability


def attention(seed: int = 0, frames: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(frames, 6, 2, 8, generator=generator) for _ in range(2))
    return q, k


def test_probability_is_an_explicit_softmax_over_frames() -> None:
    q, k = attention()
    probability = temporal_probability(q, k)
    assert probability.shape == (6, 2, 4, 4)
    for s, n, i in itertools.product(range(6), range(2), range(4)):
        weights = [math.exp(float(q[i, s, n] @ k[j, s, n]) / math.sqrt(8)) for j in range(4)]
        expected = torch.tensor([weight / sum(weights) for weight in weights])
        torch.testing.assert_close(probability[s, n, i], expected)


@pytest.mark.parametrize("exclude_self", [False, True])
def test_strongest_by_loops(exclude_self: bool) -> None:
    probability = temporal_probability(*attention(1))
    value, index = strongest(probability, exclude_self)
    assert value.shape == index.shape == (6, 2, 4, 1)
    hits = 0
    for s, n, i in itertools.product(range(6), range(2), range(4)):
        frames = [j for j in range(4) if not (exclude_self and j == i)]
        best = max(frames, key=lambda j: float(probability[s, n, i, j]))
        assert (int(index[s, n, i]), float(value[s, n, i])) == (best, float(probability[s, n, i, best]))
        hits += best == i
    assert self_hits(index) == pytest.approx(hits / 48)
    assert (self_hits(index) == 0) == exclude_self


def test_sparse_loss_by_loops_and_of_the_reference_itself() -> None:
    reference, generated = temporal_probability(*attention(0)), temporal_probability(*attention(1))
    value, index = strongest(reference)
    terms = [
        (float(generated[s, n, i, int(index[s, n, i])]) - float(value[s, n, i])) ** 2
        for s, n, i in itertools.product(range(6), range(2), range(4))
    ]
    assert float(sparse_loss(generated, value, index)) == pytest.approx(np.mean(terms), rel=1e-5)
    assert float(sparse_loss(reference, value, index)) == 0
    start = generated.double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: sparse_loss(p, value.double(), index), start)


def test_ramp_of_the_paper() -> None:
    """Fifty guided steps with a warm-up and a cool-down of ten."""
    expected = [min((k + 1) / 10 if k < 10 else 1, (50 - k) / 10 if k > 40 else 1) for k in range(50)]
    assert [ramp(k, 50, 0.2) for k in range(50)] == pytest.approx(expected)
    assert [ramp(k, 3, 0.0) for k in range(3)] == [1, 1, 1]
    assert ramp(0, 1, 0.2) == 1
