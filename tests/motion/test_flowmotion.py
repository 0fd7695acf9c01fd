"""FlowMotion's difference operator, loss and velocity regularisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastvmt.motion.flowmotion import clean_loss, frame_differences, regularised


def latents(seed: int = 0, frames: int = 4) -> torch.Tensor:
    return torch.randn(1, 2, frames, 3, 5, generator=torch.Generator().manual_seed(seed))


def differences_by_loops(y: np.ndarray) -> np.ndarray:
    frames = y.shape[2]
    rows = [[abs(y[:, :, f + 1] - y[:, :, f]) for f in range(frames - 1)]]
    for centre in range(frames):
        rows.append([abs(y[:, :, centre] - y[:, :, f]) for f in range(frames) if f != centre])
    return np.array(rows)


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_differences_by_loops(frames: int) -> None:
    y = latents(frames=frames)
    actual = frame_differences(y)
    assert actual.shape == (frames + 1, frames - 1, 1, 2, 3, 5)
    np.testing.assert_array_equal(actual.numpy(), differences_by_loops(y.numpy()))


def test_loss_by_loops() -> None:
    a, b = latents(0), latents(1)
    x, y = a.numpy(), b.numpy()
    dif = ((differences_by_loops(x) - differences_by_loops(y)) ** 2).mean()
    expected = 20 * ((x - y) ** 2).mean() + 5 * dif
    assert float(clean_loss(a, b, 20.0, 5.0)) == pytest.approx(expected, rel=1e-5)
    assert float(clean_loss(a, a, 20.0, 5.0)) == 0
    still = latents(2, frames=1).expand(-1, -1, 4, -1, -1)
    assert float(clean_loss(a + still, a, 0.0, 5.0)) == pytest.approx(0, abs=1e-10)  # content is no motion


def test_loss_has_the_right_gradient() -> None:
    start, reference = latents(0).double().requires_grad_(True), latents(1).double()
    assert torch.autograd.gradcheck(lambda x: clean_loss(x, reference, 20.0, 5.0), start)


def test_regularised_velocity_by_loops() -> None:
    v, mean = latents(0), latents(1)
    actual = regularised(v, mean, 0.1)
    for f in range(4):
        for row in range(3):
            for column in range(5):
                a, m = v[0, :, f, row, column], mean[0, :, f, row, column]
                unit = m / m.norm()
                along = (a @ unit) * unit
                torch.testing.assert_close(actual[0, :, f, row, column], along + 0.1 * (a - along))


def test_regularised_velocity_at_its_ends() -> None:
    v, mean = latents(0), latents(1)
    torch.testing.assert_close(regularised(v, mean, 1.0), v)
    torch.testing.assert_close(regularised(2.5 * mean, mean, 0.0), 2.5 * mean)
    assert not regularised(v, torch.zeros_like(v), 0.0).any()
    torch.testing.assert_close(regularised(v, torch.zeros_like(v), 0.3), 0.3 * v)
