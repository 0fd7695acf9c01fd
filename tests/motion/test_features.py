"""MOFT against numpy's SVD, SMM against loops, MotionClone against explicit softmaxes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from fastvmt.methods.motionclone import ramp
from fastvmt.methods.smm import low_frequencies
from fastvmt.motion.features import marginal_mean, moft_loss, motion_channels, motion_part, smm_loss
from fastvmt.motion.temporal import self_hits, sparse_loss, strongest, temporal_probability


def features(seed: int = 0, frames: int = 4, width: int = 50) -> torch.Tensor:
    return torch.randn(frames, 9, width, generator=torch.Generator().manual_seed(seed))


def test_motion_part_has_no_temporal_mean_and_ignores_content() -> None:
    hidden, content = features(), features(1)[:1]
    expected = hidden.numpy() - hidden.numpy().mean(0, keepdims=True)
    np.testing.assert_allclose(motion_part(hidden).numpy(), expected, atol=1e-6)
    torch.testing.assert_close(motion_part(hidden + 3 * content), motion_part(hidden), rtol=1e-4, atol=1e-5)
    assert not motion_part(content.expand(4, -1, -1)).any()


@pytest.mark.parametrize("share", [0.04, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_channels_are_those_of_numpys_first_right_singular_vector(share: float, seed: int) -> None:
    motion = motion_part(features(seed) * torch.linspace(0.5, 2, 50))
    _, _, right = np.linalg.svd(motion.double().numpy().reshape(36, 50), full_matrices=False)
    expected = np.sort(np.argsort(-np.abs(right[0]))[: max(1, round(share * 50))])
    assert motion_channels(motion, share).tolist() == expected.tolist()


def test_the_channel_that_moves_is_chosen() -> None:
    motion = 0.01 * features()
    motion[..., 17] += torch.linspace(-1, 1, 4)[:, None]
    assert motion_channels(motion, 0.001).tolist() == [17]  # never none at all


def test_moft_loss_by_loops_and_at_its_ends() -> None:
    a, b = features(0, width=5), features(1, width=5)
    values = [1 - float(x @ y / (x.norm() * y.norm())) for f in range(4) for x, y in zip(a[f], b[f], strict=True)]
    assert float(moft_loss(a, b)) == pytest.approx(np.mean(values), rel=1e-5)
    assert float(moft_loss(a, 3 * a)) == pytest.approx(0, abs=1e-6)
    assert float(moft_loss(a, -a)) == pytest.approx(2, rel=1e-6)


def test_smm_loss_by_loops() -> None:
    a, b = marginal_mean(features(0)), marginal_mean(features(1))
    np.testing.assert_allclose(a.numpy(), features(0).numpy().mean(1), atol=1e-6)
    per_anchor = []
    for i in range(4):
        cosines = []
        for t in range(4):
            if t != i:
                x, y = a[t] - a[i], b[t] - b[i]
                cosines.append(float(x @ y / (x.norm() * y.norm())))
        per_anchor.append(1 - np.mean(cosines))
    assert float(smm_loss(a, b)) == pytest.approx(np.mean(per_anchor), rel=1e-5)
    assert float(smm_loss(a, a)) == pytest.approx(0, abs=1e-6)
    assert float(smm_loss(a + 5, a)) == pytest.approx(0, abs=1e-5)  # a constant feature is no motion
    assert float(smm_loss(a.flip(0), a)) > 0.5


@pytest.mark.parametrize("loss", [moft_loss, smm_loss])
def test_cosine_losses_have_the_right_gradient(loss) -> None:
    shape = (3, 2, 4) if loss is moft_loss else (3, 4)
    generator = torch.Generator().manual_seed(0)
    start, reference = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: loss(x, reference), start.requires_grad_(True))
    frozen = reference.clone().requires_grad_(True)
    assert torch.autograd.grad(loss(start, frozen), frozen, allow_unused=True) == (None,)


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


def test_low_frequencies_keep_what_is_smooth_only() -> None:
    rows = torch.arange(24.0).view(1, 1, 1, 24, 1).expand(1, 3, 2, 24, 24)
    checks = ((torch.arange(24)[:, None] + torch.arange(24)) % 2 * 2.0 - 1).expand(1, 3, 2, 24, 24)
    low = low_frequencies(rows + checks)
    inner = (slice(None), slice(None), slice(None), slice(8, -8), slice(8, -8))
    torch.testing.assert_close(low[inner], rows[inner], rtol=0, atol=0.1)
    constant = torch.randn(1, 3, 2, 1, 1).expand(1, 3, 2, 24, 24)
    torch.testing.assert_close(low_frequencies(constant), constant)
