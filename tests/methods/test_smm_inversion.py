"""SMM's reference by inversion: what is compared, where the start comes from, what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.methods.smm import low_frequencies
from fastvmt.motion.smm import marginal_mean, smm_loss
from fastvmt.types import TransferCase
from helpers.methods import method_of
from helpers.transfers import SAMPLER, job_for

INVERTED = ("smm", "ref=rf_inversion", "init=highfreq", "fraction=0.5", "block=2")


def test_the_reference_is_inverted_once_with_its_caption(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path
) -> None:
    case = replace(case, reference_prompt="a red car on sand")
    job = job_for(backbone, case, cache=TensorCache(tmp_path), text=backbone.embed("a dog"))
    caption, method = backbone.embed("a red car on sand"), method_of(*INVERTED)
    x, found = job.reference, {0.0: job.reference}
    for low, high in zip(job.sigmas[:0:-1], job.sigmas[-2::-1], strict=True):  # upwards, by hand
        with torch.no_grad():
            x = x + (high - low) * backbone.velocity(x, low, caption)
        found[high] = x
    noise = job.noise
    before = replace(backbone.passes)
    start = method.start(job)
    torch.testing.assert_close(start, low_frequencies(x) + noise - low_frequencies(noise))
    steps, depth = len(job.sigmas) - 1, backbone.layout.depth
    assert backbone.passes.reference_forwards - before.reference_forwards == steps * depth + 2 * 3  # two guided steps
    for step in (0, 1):
        sigma = job.sigmas[step]
        expected = marginal_mean(backbone.hidden(found[sigma], sigma, caption, 2))
        torch.testing.assert_close(method.reference_mean(job, step, sigma), expected)
        loss = smm_loss(marginal_mean(backbone.hidden(noise, sigma, job.text, 2)), expected)
        torch.testing.assert_close(method.objective(job, step, noise, sigma)(noise), loss)
    again = replace(backbone.passes)
    method.start(job)
    assert backbone.passes == again  # stored


def test_what_the_inversion_depends_on_is_in_its_key(backbone: WanBackbone, case: TransferCase, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    job, method = job_for(backbone, case, cache=cache), method_of(*INVERTED)
    caption = replace(case, reference_prompt="a red car on sand")
    weaker = job_for(backbone, case, sampler=replace(SAMPLER, strength=0.6), cache=cache)
    jobs = [job, replace(job, case=caption), weaker]
    for found, one in enumerate(jobs, 1):
        method.inverted(one)
        assert cache.misses == found
    for found, change in enumerate(("block=1", "fraction=0.75"), len(jobs) + 1):
        method_of(*INVERTED, change).inverted(job)
        assert cache.misses == found
    method.inverted(job)
    assert cache.misses == len(jobs) + 2


def test_without_guidance_the_start_is_still_inverted(backbone: WanBackbone, case: TransferCase) -> None:
    job = job_for(backbone, case)
    kept = method_of(*INVERTED, "fraction=0").inverted(job)
    assert kept["mean"].numel() == 0 and kept["start"].shape == backbone.layout.latent_shape
