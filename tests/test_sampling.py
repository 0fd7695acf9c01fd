"""The schedule's closed forms, and the denoising loop against diffusers' own pipeline."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from diffusers import WanPipeline
from torch import Tensor

from fastvmt.backbones.wan import WanBackbone
from fastvmt.sampling import ClassifierFree, denoise, euler_step
from fastvmt.schedule import add_noise, seeded_noise, sigma_schedule
from fastvmt.settings import Sampler
from helpers.velocities import guided_velocity

CPU = torch.device("cpu")
PROMPT, NEGATIVE = "a dog on grass", "a red car"


@pytest.mark.parametrize(
    ("strength", "first", "tenth"), [(1.0, 1.000, 0.970), (0.92, 0.988, 0.956), (0.75, 0.955, 0.918)]
)
def test_published_noise_levels(strength: float, first: float, tenth: float) -> None:
    """FastVMT's schedule (50 steps, shift 7): start and last guided step to three digits."""
    sigmas = sigma_schedule(50, 7.0, strength)
    assert (round(sigmas[0], 3), round(sigmas[9], 3)) == (first, tenth)


@pytest.mark.parametrize(("steps", "shift", "strength"), [(1, 3.0, 1.0), (4, 1.0, 1.0), (20, 3.0, 0.6), (7, 0.5, 0.9)])
def test_schedule_falls_to_zero(steps: int, shift: float, strength: float) -> None:
    sigmas = sigma_schedule(steps, shift, strength)
    assert len(sigmas) == steps + 1
    assert sigmas[-1] == 0.0
    assert sigmas == sorted(set(sigmas), reverse=True)
    # undoing the shift, s = sigma / (m - (m - 1) sigma), leaves equal steps
    base = [sigma / (shift - (shift - 1) * sigma) for sigma in sigmas]
    assert base == pytest.approx([strength * (1 - k / steps) for k in range(steps + 1)])


def test_noise_mixes_linearly() -> None:
    x, noise = torch.full((2, 2), 4.0), torch.full((2, 2), -2.0)
    assert torch.equal(add_noise(x, noise, 0.0), x)
    assert torch.equal(add_noise(x, noise, 1.0), noise)
    torch.testing.assert_close(add_noise(x, noise, 0.25), torch.full((2, 2), 2.5))


def test_noise_depends_on_its_seed_alone() -> None:
    torch.manual_seed(5)
    first = seeded_noise((3, 4), 7, CPU)
    torch.manual_seed(6)
    assert torch.equal(first, seeded_noise((3, 4), 7, CPU))
    assert not torch.equal(first, seeded_noise((3, 4), 8, CPU))
    state = torch.random.get_rng_state()
    seeded_noise((3, 4), 9, CPU)
    assert torch.equal(state, torch.random.get_rng_state())


def sample(model: object, noise: Tensor, text: Tensor, negative: Tensor, sigmas: list[float], scale: float) -> Tensor:
    """Denoise under classifier-free guidance."""

    def step(i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        return euler_step(x, guided_velocity(model, x, sigma, text, negative, scale), sigma, sigma_next)

    return denoise(noise, sigmas, step)


def straight(x0: Tensor, noise: Tensor) -> SimpleNamespace:
    """A model that knows the answer: its velocity is noise - x0 everywhere."""
    return SimpleNamespace(velocity=lambda x, sigma, text: noise - x0)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_straight_paths_are_integrated_exactly(steps: int) -> None:
    x0, noise = torch.randn(2, 1, 4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    sigmas = sigma_schedule(steps, 3.0)
    text = torch.zeros(1)
    torch.testing.assert_close(sample(straight(x0, noise), noise, text, text, sigmas, 1.0), x0)


def test_guidance_extrapolates_from_the_negative() -> None:
    model = SimpleNamespace(velocity=lambda x, sigma, text: text)
    positive, negative = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0])
    for scale in (0.0, 0.3, 1.0, 5.8):
        v = guided_velocity(model, torch.zeros(2), 0.5, positive, negative, scale)
        torch.testing.assert_close(v, negative + scale * (positive - negative))


def flow(text: Tensor, sigma: float) -> Tensor:
    """A velocity field that depends on the noise level, and with each text on another channel in another way."""
    return text * torch.tensor([1.0, sigma, sigma**2])


@pytest.mark.parametrize("scale", [0.0, 1.0, 0.3, 5.8])
@pytest.mark.parametrize("every", [1, 2, 3, 9])
def test_between_negative_passes_their_difference_is_kept(every: int, scale: float) -> None:
    """x_end = x + sum (sigma' - sigma) (p + (scale - 1) (p - n)), the bracket from the last multiple of ``every``."""
    positive, negative = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, -1.0])
    passes: list[float] = []

    def velocity(x: Tensor, sigma: float, text: Tensor) -> Tensor:
        if text is negative:
            passes.append(sigma)
        return flow(text, sigma)

    sampler = Sampler(cfg_scale=scale, negative_every=every)
    guided = ClassifierFree(SimpleNamespace(velocity=velocity), negative, sampler)
    sigmas, start = sigma_schedule(8, 3.0), torch.tensor([0.5, -0.5, 0.0])

    def step(i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        return euler_step(x, guided(i, x, sigma, flow(positive, sigma)), sigma, sigma_next)

    expected = start.double()
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        kept = sigmas[i - i % every]
        difference = flow(positive, kept) - flow(negative, kept)
        expected = expected + (sigma_next - sigma) * (flow(positive, sigma) + (scale - 1) * difference)
    torch.testing.assert_close(denoise(start, sigmas, step), expected.float(), rtol=1e-5, atol=1e-5)
    assert passes == [sigma for i, sigma in enumerate(sigmas[:-1]) if sampler.negative_at(i)]
    assert len(passes) == (0 if scale == 1 else math.ceil(8 / every))


def test_a_negative_pass_in_every_step_is_plain_guidance_bit_for_bit() -> None:
    x, positive, negative = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    guided = ClassifierFree(SimpleNamespace(velocity=lambda *_: negative), negative, Sampler(cfg_scale=5.8))
    for i in range(3):
        assert torch.equal(guided(i, x, 0.5, positive), torch.lerp(negative, positive, 5.8))


def test_every_step_is_made_once_in_order() -> None:
    """Each takes over what the one before returned, and is told after it is done."""
    sigmas, seen = sigma_schedule(4, 3.0), []

    def step(i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        seen.append((i, float(x.mean()), sigma, sigma_next))
        return x + 1.0

    moved = denoise(torch.ones(1, 1, 1, 2, 2), sigmas, step, lambda i, _: seen.append(i))
    steps = [(i, i + 1.0, sigmas[i], sigmas[i + 1]) for i in range(4)]
    assert seen == [each for i in range(4) for each in (steps[i], i)]
    assert torch.equal(moved, torch.full((1, 1, 1, 2, 2), 5.0))


def test_latents_are_float32_throughout() -> None:
    kinds = []
    denoise(torch.ones(2, dtype=torch.bfloat16), [1.0, 0.5, 0.0], lambda i, x, s, s_next: (kinds.append(x.dtype), x)[1])
    assert kinds == [torch.float32] * 2


def test_reproduces_the_pipeline_of_diffusers(backbone: WanBackbone, pipeline: WanPipeline) -> None:
    noise = seeded_noise(backbone.layout.latent_shape, 3, CPU)
    shared = dict(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        height=48,
        width=48,
        num_frames=9,
        num_inference_steps=4,
        guidance_scale=4.0,
        max_sequence_length=16,
    )
    expected = pipeline(latents=noise.clone(), output_type="pt", **shared).frames[0]
    expected_latents = pipeline(latents=noise.clone(), output_type="latent", **shared).frames
    sigmas = pipeline.scheduler.sigmas.tolist()
    text, negative = backbone.embed(PROMPT), backbone.embed(NEGATIVE)
    latents = sample(backbone, noise, text, negative, sigmas, 4.0)
    pixels = backbone.decode(latents)
    torch.testing.assert_close(latents, expected_latents, rtol=1e-4, atol=1e-4)
    assert pixels.shape == (9, 48, 48, 3)
    assert (pixels - expected.permute(0, 2, 3, 1)).abs().max() < 1e-3
    unguided = sample(backbone, noise, text, negative, sigmas, 1.0)  # the comparison can tell them apart
    assert (unguided - latents).abs().max() > 0.1
    assert (backbone.decode(unguided) - pixels).abs().max() > 0.01


@pytest.mark.parametrize(("cfg_scale", "passes"), [(1.0, 1), (4.0, 2), (0.5, 2)])
def test_a_scale_of_one_runs_one_pass(backbone: WanBackbone, cfg_scale: float, passes: int) -> None:
    noise, text = seeded_noise(backbone.layout.latent_shape, 0, CPU), backbone.embed("")
    sample(backbone, noise, text, text, sigma_schedule(2, 3.0), cfg_scale)
    assert backbone.passes.block_forwards == 2 * passes * 3
    assert backbone.passes.gradients == backbone.passes.block_backwards == 0


def test_the_same_noise_gives_the_same_latents(backbone: WanBackbone) -> None:
    text, negative, sigmas = backbone.embed(PROMPT), backbone.embed(""), sigma_schedule(2, 3.0)
    runs = [
        sample(backbone, seeded_noise(backbone.layout.latent_shape, seed, CPU), text, negative, sigmas, 3.0)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
