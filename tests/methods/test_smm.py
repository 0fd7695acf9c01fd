"""SMM's start from low frequencies and its restarts with fresh noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate

from fastvmt.backbones.wan import WanBackbone
from fastvmt.methods.smm import low_frequencies, noised_again
from fastvmt.schedule import add_noise, seeded_noise, sigma_schedule
from fastvmt.types import TransferCase
from helpers.methods import method_of
from helpers.transfers import SAMPLER, job_for, transfer
from helpers.velocities import guided_velocity


def test_smm_starts_from_low_frequencies_of_the_reference(backbone: WanBackbone, case: TransferCase) -> None:
    job, method = job_for(backbone, case, sampler=replace(SAMPLER, strength=0.6)), method_of("smm", "init=highfreq")
    start = method.start(job)
    noisy = job.noised_reference(job.sigmas[0], method.reference_seed)
    torch.testing.assert_close(start - low_frequencies(noisy), job.noise - low_frequencies(job.noise))
    plain = method_of("smm").start(job)
    torch.testing.assert_close(plain, add_noise(job.reference, job.noise, job.sigmas[0]))


def test_low_frequencies_are_those_of_a_quarter_of_the_size() -> None:
    """Frame by frame, by torch's resize with the factor instead of the size."""
    x = seeded_noise((1, 4, 3, 12, 20), 0, torch.device("cpu"))
    small = [interpolate(x[:, :, f], scale_factor=0.25, mode="bilinear", antialias=True) for f in range(3)]
    large = [interpolate(frame, scale_factor=4, mode="bilinear", antialias=True) for frame in small]
    torch.testing.assert_close(low_frequencies(x), torch.stack(large, 2))


def test_noising_again_gives_the_level_its_shares() -> None:
    """Of independent clean latents, noise and fresh noise: (1 - s) of the first, s of the others together."""
    clean, noise, fresh = torch.eye(3)
    for sigma, higher in ((0.0, 0.3), (0.4, 0.5), (0.7, 0.95), (0.6, 1.0)):
        a, b, c = noised_again((1 - sigma) * clean + sigma * noise, fresh, sigma, higher).tolist()
        assert a == pytest.approx(1 - higher, abs=1e-6)
        assert b**2 + c**2 == pytest.approx(higher**2, rel=1e-5)
    assert torch.equal(noised_again(clean, fresh, 0.5, 0.5), clean)


def test_restart_repeats_every_step_but_the_first(backbone: WanBackbone, case: TransferCase) -> None:
    """An unguided transfer against the written-out loop; the passes are those declared."""
    method = method_of("smm", "restart=true", "fraction=0.0")
    result, levels = transfer(backbone, method, case), sigma_schedule(4, 3.0)
    text, negative = backbone.embed(case.prompt), backbone.embed("")
    assert result.passes == method.budget(backbone.layout, SAMPLER)
    assert result.passes.block_forwards == (4 + 3) * 2 * 3
    x = seeded_noise(backbone.layout.latent_shape, case.seed, backbone.device)
    with torch.no_grad():
        for step, (s, t) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
            x = x + (t - s) * guided_velocity(backbone, x, s, text, negative, 3.0)
            if step:
                fresh = seeded_noise(tuple(x.shape), case.seed + 1_000_003 * step, backbone.device)
                x = noised_again(x, fresh, t, s)
                x = x + (t - s) * guided_velocity(backbone, x, s, text, negative, 3.0)
    torch.testing.assert_close(result.latents_BCFHW, x, rtol=1e-4, atol=1e-4)
