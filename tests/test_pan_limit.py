"""The maximum-likelihood reading of a pan, on textures whose shift is known."""

from __future__ import annotations

import pytest
import torch

from experiments.pan_limit import estimates, likelihood, shift_grid, spectra


def drifting(speed: tuple[float, float], frames: int = 4, side: int = 24) -> torch.Tensor:
    """(3, F, side, side) smooth random texture cut from a larger one that moves by ``speed`` (dy, dx) per frame."""
    generator, big = torch.Generator().manual_seed(0), 64
    f = torch.fft.fft2(torch.randn(3, big, big, generator=generator))
    y, x = torch.fft.fftfreq(big)[:, None], torch.fft.fftfreq(big)
    f = f / (1 + (16 * (y**2 + x**2).sqrt()) ** 2)
    moved = [
        torch.fft.ifft2(f * torch.exp(-2j * torch.pi * t * (speed[0] * y + speed[1] * x))).real for t in range(frames)
    ]
    texture = torch.stack(moved, 1)[..., 20 : 20 + side, 20 : 20 + side]
    return texture / texture.std()


@pytest.mark.parametrize("speed", [(1.0, -2.0), (0.0, 1.5), (-0.5, 0.0)])
def test_clean_pan_is_read_exactly(speed: tuple[float, float]) -> None:
    clean = drifting(speed)
    power = spectra(clean).abs().square().mean(1)
    pairs, found = estimates(0.9 * clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator()), power, 0.1, 1)
    assert found.tolist() == pytest.approx(list(speed))
    assert (pairs - torch.tensor(speed)).abs().max() <= 0.5


def test_nothing_is_read_from_noise_alone() -> None:
    power = spectra(drifting((0.0, 1.5))).abs().square().mean(1)
    noise = torch.randn(20, 3, 4, 24, 24, generator=torch.Generator().manual_seed(1))
    found = torch.stack([estimates(x, power, 0.999, 1)[0] for x in noise]).flatten(0, 1)
    assert found.mean(0).abs().max() < 1.5
    assert found.std() > 2


def test_likelihood_is_the_correlation_with_the_shifted_frame() -> None:
    x = torch.randn(8, 8, generator=torch.Generator().manual_seed(2))
    crossed = torch.fft.fft2(x).conj() * torch.fft.fft2(torch.roll(x, (2, -1), (0, 1)))
    shifts = shift_grid(3, 1)
    direct = torch.stack([(torch.roll(x, (2 - int(dy), -1 - int(dx)), (0, 1)) * x).sum() for dy, dx in shifts])
    torch.testing.assert_close(likelihood(crossed, shifts), direct * x.numel(), rtol=1e-4, atol=1e-3)
    assert shifts[likelihood(crossed, shifts).argmax()].tolist() == [2, -1]
