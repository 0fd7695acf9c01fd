"""SMM against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastvmt.methods.smm import low_frequencies
from fastvmt.motion.smm import marginal_mean, smm_loss


def features(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 9, 50, generator=torch.Generator().manual_seed(seed))


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


def test_the_loss_has_the_right_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    start, reference = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: smm_loss(x, reference), start.requires_grad_(True))
    frozen = reference.clone().requires_grad_(True)
    assert torch.autograd.grad(smm_loss(start, frozen), frozen, allow_unused=True) == (None,)


def test_low_frequencies_keep_what_is_smooth_only() -> None:
    rows = torch.arange(24.0).view(1, 1, 1, 24, 1).expand(1, 3, 2, 24, 24)
    checks = ((torch.arange(24)[:, None] + torch.arange(24)) % 2 * 2.0 - 1).expand(1, 3, 2, 24, 24)
    low = low_frequencies(rows + checks)
    inner = (slice(None), slice(None), slice(None), slice(8, -8), slice(8, -8))
    torch.testing.assert_close(low[inner], rows[inner], rtol=0, atol=0.1)
    constant = torch.randn(1, 3, 2, 1, 1).expand(1, 3, 2, 24, 24)
    torch.testing.assert_close(low_frequencies(constant), constant)
