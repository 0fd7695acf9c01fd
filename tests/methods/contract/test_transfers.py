"""A transfer of any method is whole, repeatable, costs what is declared, follows its reference and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache
from fastvmt.engine.plan import Plan
from fastvmt.methods.base import Method
from fastvmt.methods.transfer import transfer_case
from fastvmt.methods.tuned import Tuned
from fastvmt.solver import solver_of
from helpers.config import composed
from helpers.contract import CASES, OPTIONS, VARIANTS, left_in, transfer_first
from helpers.transfers import same


def test_every_file_of_conf_method_is_here() -> None:
    assert {"fastvmt", "none", "sdedit", "ditflow", "moft", "smm", "motionclone", "flowmotion"} <= set(OPTIONS)
    assert set(VARIANTS) <= set(OPTIONS)


@pytest.mark.parametrize(("option", "change"), [case for case in CASES if case[1]])
def test_every_variant_changes_the_settings(option: str, change: str) -> None:
    def settings(*words: str) -> object:
        return OmegaConf.to_container(composed(f"method={option}", *words).method, resolve=True)

    assert [word for word in change.split() if settings(word) == settings()] == []


@pytest.mark.parametrize(("option", "change"), CASES)
def test_a_transfer_is_whole_repeatable_declared_and_leaves_nothing(
    backbone: Backbone, plan_of: Callable[..., Plan], option: str, change: str, tmp_path: Path
) -> None:
    plan = plan_of(option, change)
    before = left_in(backbone)
    first = transfer_first(backbone, plan, tmp_path)
    assert left_in(backbone) == before
    sigmas, _ = solver_of(backbone, plan.sampler, plan.method.uses_strength)
    assert first.passes.reference_forwards == plan.method.readings(backbone.layout, sigmas)

    assert first.latents_BCFHW.shape == backbone.layout.latent_shape
    assert first.latents_BCFHW.dtype == torch.float32
    assert not first.latents_BCFHW.requires_grad
    assert torch.isfinite(first.latents_BCFHW).all()
    assert first.video.size == (9, 32, 32)
    assert len(first.trace) == plan.method.inner_iterations(plan.sampler.steps)
    assert all(set(row) >= {"step", "iteration", "sigma", "loss", "grad_norm", "reused"} for row in first.trace)

    torch.manual_seed(99)
    second = transfer_first(backbone, plan, tmp_path)
    assert same(second, first)
    assert second.passes.reference_forwards == 0  # the reference was kept
    declared = plan.method.budget(backbone.layout, plan.sampler)
    tuned = isinstance(plan.method, Tuned)
    assert second.trace == ([] if tuned else first.trace)  # tuned once
    plain = Method().budget(backbone.layout, plan.sampler)
    assert asdict(second.passes) == asdict(plain if tuned else declared)
    spent = replace(first.passes, block_forwards=first.passes.block_forwards - first.passes.reference_forwards)
    assert replace(spent, reference_forwards=0) == declared

    other = replace(plan.cases[0], seed=plan.cases[0].seed + 1)
    assert not same(transfer_case(backbone, plan.method, plan.sampler, other, TensorCache(tmp_path)), first)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "none"])
def test_the_reference_matters(backbone: Backbone, plan_of: Callable[..., Plan], option: str) -> None:
    plan = plan_of(option)
    case = plan.cases[0]
    mirrored = replace(case, reference=replace(case.reference, frames_THWC=case.reference.frames_THWC.flip(0, 2)))
    assert not same(
        transfer_first(backbone, plan), transfer_case(backbone, plan.method, plan.sampler, mirrored, TensorCache(None))
    )
