"""The ideal observer of a pan, on textures whose shift is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from experiments.probes.pan_limit import SPAN, Texture, background_flow, correlation, estimates, shift_grid, true_path
from fastvmt.motion.pairs import frame_pairs
from fastvmt.types import MotionField, TransferCase, Truth, Video

SPEEDS = [(1.0, -2.0), (0.0, 1.5), (-0.5, 0.0)]


def drifting(speed: tuple[float, float], frames: int = 4, side: int = 24, seed: int = 0) -> Tensor:
    """(3, F, side, side) smooth random texture cut from a larger one that moves by ``speed`` (dy, dx) per frame."""
    generator, big = torch.Generator().manual_seed(seed), 64
    f = torch.fft.fft2(torch.randn(3, big, big, generator=generator))
    y, x = torch.fft.fftfreq(big)[:, None], torch.fft.fftfreq(big)
    f = f / (1 + (16 * (y**2 + x**2).sqrt()) ** 2)
    moved = [
        torch.fft.ifft2(f * torch.exp(-2j * torch.pi * t * (speed[0] * y + speed[1] * x))).real for t in range(frames)
    ]
    texture = torch.stack(moved, 1)[..., 20 : 20 + side, 20 : 20 + side]
    return texture / texture.std()


def noisy(clean: Tensor, sigma: float, seed: int = 1) -> Tensor:
    return torch.lerp(clean, torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)), sigma)


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_clean_pan_is_read(speed: tuple[float, float]) -> None:
    clean = drifting(speed)
    alone, together = estimates(noisy(clean, 0.1), Texture.of([clean]), 0.1)
    pairs = torch.tensor(frame_pairs(4, SPAN))
    spans = pairs[:, 1:] - pairs[:, :1]
    torch.testing.assert_close(together, spans * torch.tensor(speed), atol=0.03, rtol=0)
    torch.testing.assert_close(alone, spans * torch.tensor(speed), atol=0.3, rtol=0)


def test_channels_that_show_the_same_are_no_independent_witnesses() -> None:
    """Mixed channels hold what unmixed ones hold: a rotation of the channels, noise included, changes nothing."""
    clean = [drifting(speed, seed=i) for i, speed in enumerate(SPEEDS)]
    clean = [z * torch.tensor([3.0, 1.0, 0.3]).view(3, 1, 1, 1) for z in clean]
    mix = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(5))).Q
    mixed = [torch.einsum("dc,cfhw->dfhw", mix, z) for z in clean]
    for z in clean:
        x = noisy(z, 0.8)
        plain = estimates(x, Texture.of(clean), 0.8)
        rotated = estimates(torch.einsum("dc,cfhw->dfhw", mix, x), Texture.of(mixed), 0.8)
        for a, b in zip(plain, rotated, strict=True):
            torch.testing.assert_close(a, b, atol=0.02, rtol=0.02)


def test_nothing_is_read_from_noise_alone() -> None:
    clean = drifting((0.0, 1.5))
    alone, together = estimates(noisy(clean, 0.999), Texture.of([clean]), 0.999)
    assert max(alone.abs().max(), together.abs().max()) < 0.3


def test_correlation_is_that_with_the_shifted_frame() -> None:
    x = torch.randn(8, 8, generator=torch.Generator().manual_seed(2))
    crossed = torch.fft.fft2(x).conj() * torch.fft.fft2(torch.roll(x, (2, -1), (0, 1)))
    shifts = shift_grid(3, 1)
    direct = torch.stack([(torch.roll(x, (2 - int(dy), -1 - int(dx)), (0, 1)) * x).sum() for dy, dx in shifts])
    torch.testing.assert_close(correlation(crossed, shifts), direct * x.numel(), rtol=1e-4, atol=1e-3)
    assert shifts[correlation(crossed, shifts).argmax()].tolist() == [2, -1]


def panned(speed: tuple[float, float]) -> TransferCase:
    """Two background points and an object's; the second point leaves the frame before the last one."""
    path = torch.arange(5)[:, None] * torch.tensor([speed[1], speed[0]])
    tracks = torch.tensor([[20.0, 12.0], [4.0, 4.0], [30.0, 30.0]])[:, None] + path
    visible = torch.ones(3, 5, dtype=torch.bool)
    visible[1, 4] = False
    truth = Truth(torch.zeros(1, 5, 2), tracks, visible, torch.tensor([-1, -1, 0]))
    return TransferCase("pan", Video(torch.zeros(5, 48, 48, 3, dtype=torch.uint8), 8.0), "", truth=truth)


def test_flow_of_the_background_is_a_mean_over_tokens_seen_in_both_frames() -> None:
    case, pairs = panned((0.0, 1.0)), ((0, 1), (0, 2))
    flow = torch.zeros(2, 6, 6, 2)
    for (row, column), vector in {(1, 2): (0.0, 1.0), (0, 0): (4.0, 3.0), (3, 3): (9.0, 9.0)}.items():
        flow[:, row, column] = torch.tensor(vector)
    means = background_flow(MotionField(flow.flatten(1, 2), pairs, (3, 6, 6)), case, 2)
    assert means.tolist() == [[2.0, 2.0], [0.0, 1.0]]


def test_only_a_pan_has_one_path() -> None:
    case = panned((0.5, -1.0))
    path = true_path(case, 2)
    assert path is not None and path.tolist() == [[0.0, 0.0], [1.0, -2.0], [2.0, -4.0]]
    case.truth.tracks_NT2[1] *= 1.5
    assert true_path(case, 2) is None
