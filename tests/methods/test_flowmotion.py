"""FlowMotion against a plain loop, on the reference itself, and its one pass over the reference."""

from __future__ import annotations

from dataclasses import replace

import torch

from fastvmt.backbones.wan import WanBackbone
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.types import TransferCase
from helpers.methods import method_of
from helpers.transfers import SAMPLER, distinct_job, job_for
from helpers.velocities import guided_velocity


def test_flowmotion_of_the_reference_itself(backbone: WanBackbone, case: TransferCase) -> None:
    """At the first step with the null text the predicted clean latents are the same."""
    job, method = job_for(backbone, case, sampler=replace(SAMPLER, cfg_scale=1.0)), method_of("flowmotion")
    noisy = job.noised_reference(job.sigmas[0], method.reference_seed)
    assert torch.equal(method.guide(job, 0, noisy, job.sigmas[0]), noisy)
    assert [row["loss"] for row in job.trace] == [0, 0, 0]
    assert backbone.passes.gradients == 0


def test_flowmotion_by_a_plain_loop(backbone: WanBackbone, case: TransferCase) -> None:
    """The second guided step against autograd of the written-out loss with a constant velocity."""
    settings = ["representation=clean_latent", "iterations=2", "weight=20", "difference_weight=5"]
    job, method = distinct_job(backbone, case), method_of("flowmotion", *settings, "lr=0.02", "lr_end=0.02")
    sigma, x = job.sigmas[1], seeded_noise(job.reference.shape, 5, backbone.device)
    mean = (x - job.noise) / (sigma - job.sigmas[0])
    leaf = x.clone().requires_grad_(True)
    adam = torch.optim.Adam([leaf], lr=0.02)
    for _ in range(2):
        with torch.no_grad():
            v = guided_velocity(backbone, leaf, sigma, job.text, job.negative, 3.0)
            parallel = (v * mean).sum(1, keepdim=True) / (mean * mean).sum(1, keepdim=True) * mean
            v = parallel + 0.1 * (v - parallel)
        clean, frames = leaf - sigma * v, range(5)
        dif = [(clean[:, :, f + 1] - clean[:, :, f]).abs() for f in range(4)]
        dif += [(clean[:, :, c] - clean[:, :, f]).abs() for c in frames for f in frames if f != c]
        y = job.reference
        ref = [(y[:, :, f + 1] - y[:, :, f]).abs() for f in range(4)]
        ref += [(y[:, :, c] - y[:, :, f]).abs() for c in frames for f in frames if f != c]
        loss = 20 * (y - clean).square().mean() + 5 * (torch.stack(dif) - torch.stack(ref)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    torch.testing.assert_close(method.guide(job, 1, x, sigma), leaf.detach(), rtol=1e-4, atol=1e-4)


def test_flowmotion_reads_the_reference_by_one_pass(backbone: WanBackbone, case: TransferCase) -> None:
    job, method = distinct_job(backbone, case), method_of("flowmotion")
    found = method.reference_latents(job, 1, job.sigmas[1])
    noisy = add_noise(job.reference, seeded_noise(job.reference.shape, method.reference_seed + 1, "cpu"), job.sigmas[1])
    expected = noisy - job.sigmas[1] * backbone.velocity(noisy, job.sigmas[1], job.null_text)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert backbone.passes.reference_forwards == 3
