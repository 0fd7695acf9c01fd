"""MotionClone's step against an explicit gradient, without weight, and its columns in the trace."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fastvmt.backbones.wan import WanBackbone
from fastvmt.engine.run import run
from fastvmt.methods.none import NoTransfer
from fastvmt.schedule import seeded_noise
from fastvmt.types import TransferCase
from helpers.config import composed
from helpers.methods import method_of
from helpers.transfers import SAMPLER, distinct_job, same, transfer
from helpers.velocities import guided_velocity


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_motionclone_is_euler_less_a_gradient(backbone: WanBackbone, case: TransferCase, scale: float) -> None:
    """x' = Euler(x) - weight ramp sigma sigma' g, with g from a separate partial pass and explicit softmaxes."""
    job = distinct_job(backbone, case, sampler=replace(SAMPLER, cfg_scale=scale))
    method = method_of("motionclone", "weight=50.0", "ramp_share=0.5", "fraction=1.0", "rope=true")
    sigma, following = job.sigmas[0], job.sigmas[1]
    x = seeded_noise(job.reference.shape, 2, backbone.device)

    def probability(latents: Tensor, level: float, text: Tensor) -> Tensor:
        q, k = backbone.query_key(latents, level, text, 1, True)
        return torch.stack([(q[i] * k).sum(-1).div(24**0.5).softmax(0) for i in range(5)])  # i, j, s, n

    value, index = probability(job.noised_reference(0.6, method.reference_seed), 0.6, job.null_text).max(1)
    leaf = x.clone().requires_grad_(True)
    chosen = probability(leaf, sigma, job.text).gather(1, index[:, None])[:, 0]
    (gradient,) = torch.autograd.grad((chosen - value).square().mean(), leaf)
    plain = guided_velocity(backbone, x, sigma, job.text, job.negative, scale)
    moved = method.step(job, 0, x, sigma, following)
    expected = x + (following - sigma) * plain - 50.0 * 0.5 * sigma * following * gradient  # ramp: first of two
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-5)
    (row,) = job.trace
    own = torch.arange(5)[:, None, None]
    assert row["self_hits"] == pytest.approx(float((index == own).float().mean()))
    step = (following - sigma) * plain
    ratio = float(25.0 * sigma * following * gradient.norm() / step.norm())
    assert row["move_ratio"] == pytest.approx(ratio, rel=1e-3)
    assert ratio > 1e-6


def test_motionclone_without_weight_is_no_transfer(backbone: WanBackbone, case: TransferCase) -> None:
    off = transfer(backbone, method_of("motionclone", "weight=0.0"), case)
    assert same(off, transfer(backbone, NoTransfer(), case))


def test_columns_that_a_method_adds_are_in_the_trace(random_wan: Path, tmp_path: Path) -> None:
    cfg = composed(
        f"backbone.path={random_wan}",
        "backbone.height=48",
        "backbone.width=48",
        "sampler.steps=3",
        "method=motionclone",
        "guidance.block=1",
        "guidance.fraction=0.3",
        f"output_dir={tmp_path / 'out'}",
        "cache_dir=null",
        "logger=none",
        "metrics=none",
    )
    run(cfg)
    (file,) = (tmp_path / "out").glob("cases/*/trace.csv")
    (row,) = csv.DictReader(file.open())
    assert 0 <= float(row["self_hits"]) <= 1
    assert float(row["move_ratio"]) > 0
