"""The released code's coarse numbers: latents in bfloat16 and rounded timesteps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fastvmt.guidance.gradient import gradient_of
from fastvmt.guidance.optimisation import Optimisation, optimise
from fastvmt.methods.released import nearest_level, rounded_level
from fastvmt.schedule import sigma_schedule


def test_in_bfloat16_latents_of_magnitude_one_and_more_never_move() -> None:
    """The paper's ten steps in one direction: 0.0255 in float32; in bfloat16 a third of a unit normal stays."""
    start = torch.randn(1, 1, 1, 200, 200, generator=torch.Generator().manual_seed(0)).bfloat16()

    numbers = Optimisation(0.2, 10, 0.003, 0.002, delta=3)

    def moved(dtype: torch.dtype) -> Tensor:
        end = optimise(start, gradient_of(lambda x: x.sum()), numbers, numbers.rates_within_step(), dtype=dtype)
        assert end.dtype == dtype
        return start.float() - end.float()

    torch.testing.assert_close(moved(torch.float32), torch.full(start.shape, 0.0255), atol=1e-6, rtol=1e-4)
    coarse = moved(torch.bfloat16)
    stays = math.erfc(1 / math.sqrt(2))  # P(|x| >= 1) = 0.317
    assert float((coarse == 0).float().mean()) == pytest.approx(stays, abs=0.01)
    assert (coarse[start.abs() > 1] == 0).all()
    assert float(coarse.mean()) == pytest.approx(0.0205, abs=5e-4)


def test_rounded_timesteps_are_multiples_of_four() -> None:
    for sigma in np.linspace(0.513, 1.0, 300).tolist():
        t = 1000 * rounded_level(sigma)
        assert t == pytest.approx(4 * round(t / 4), abs=1e-9)
        assert abs(t - 1000 * sigma) <= 2 + 1e-9
    assert 1000 * rounded_level(0.95) == pytest.approx(952)


@pytest.mark.parametrize(("strength", "taken"), [(0.92, {3: 2}), (1.0, {2: 1}), (0.75, {})])
def test_the_rounded_timestep_can_name_a_neighbouring_level(strength: float, taken: dict[int, int]) -> None:
    sigmas = sigma_schedule(50, 7.0, strength)
    for step in range(10):
        found = nearest_level(rounded_level(sigmas[step]), sigmas)
        assert found == sigmas[taken.get(step, step)]
