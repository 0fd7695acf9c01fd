"""MOFT against numpy's SVD and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastvmt.motion.moft import moft_loss, motion_channels, motion_part


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


def test_the_loss_has_the_right_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    start, reference = (torch.randn(3, 2, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: moft_loss(x, reference), start.requires_grad_(True))
    frozen = reference.clone().requires_grad_(True)
    assert torch.autograd.grad(moft_loss(start, frozen), frozen, allow_unused=True) == (None,)
