"""Every method of ``conf/method`` on CogVideoX, with and without a rotary embedding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import nn

from fastvmt.backbones.cogvideox import CogVideoXBackbone
from fastvmt.cache import TensorCache
from fastvmt.config import config_folder
from fastvmt.engine.plan import Plan, UserError, make_plan
from fastvmt.methods.transfer import transfer_case
from fastvmt.methods.tuned import Tuned

OPTIONS = sorted(file.stem for file in (config_folder() / "method").glob("*.yaml"))
SHORT = {"iterations": 2, "fraction": 0.5, "tuning.iterations": 2, "blocks": [1]}
"""Applied to the keys of a method that has them."""


def composed(folder: Path, *overrides: str) -> DictConfig:
    given = [
        "backbone._target_=fastvmt.backbones.cogvideox.CogVideoXBackbone",
        f"backbone.path={folder}",
        "backbone.height=48",
        "backbone.width=48",
        "guidance.block=1",
        "guidance.iterations=4",
        "guidance.fraction=0.5",
        "window.l=3",
        "sampler.steps=4",
        "sampler.shift=1",
        "output_dir=unused",
    ]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        return compose("config", overrides=[*given, *overrides])


def plan_of(folder: Path, option: str, *changes: str) -> Plan:
    """A plan of four steps; half of them guided by a method that guides."""
    base = [f"method={option}", *(["sampler.strength=0.7"] if option == "sdedit" else [])]
    keys = composed(folder, *base).method
    short = [f"method.{key}={value}" for key, value in SHORT.items() if OmegaConf.select(keys, key) is not None]
    return make_plan(composed(folder, *base, *short, *changes))


def left_in(root: nn.Module) -> list[tuple[object, ...]]:
    """Parts, hooks, processors and versions of weights of a model."""
    parts = [
        (name, id(m), len(m._forward_hooks), len(m._forward_pre_hooks), id(getattr(m, "processor", None)))
        for name, m in root.named_modules()
    ]
    return parts + [(name, id(p), p._version, p.requires_grad, p.grad is None) for name, p in root.named_parameters()]


VARIANTS = [
    ("fastvmt", "guidance.rope=true"),
    ("ditflow", "method.inject=true"),
    ("ditflow", "method.target=embedding"),
    ("motionclone", "method.rope=true"),
    ("motion_director", "method.feed_forward=true"),
    ("motion_director", "method.inversion.share=0.5"),
    ("smm", "method.restart=true"),
]
CASES = [*((option, "") for option in OPTIONS), *VARIANTS]
ROTATING = {"guidance.rope=true", "method.target=embedding", "method.rope=true"}


@pytest.mark.parametrize("model", ["cogvideox", "cogvideox_2b"])
@pytest.mark.parametrize(("option", "change"), CASES)
def test_a_method_transfers_and_leaves_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, model: str, option: str, change: str
) -> None:
    backbone: CogVideoXBackbone = request.getfixturevalue(model)
    if not backbone.layout.rotary and change in ROTATING:
        with pytest.raises(UserError, match=rf"^{change.replace('.', '[.]')} needs a rotary embedding.*rope=false"):
            plan_of(backbone.folder, option, change)
        return
    plan = plan_of(backbone.folder, option, *filter(None, [change]))
    before = left_in(backbone.transformer)
    case = plan.cases[0]
    first = transfer_case(backbone, plan.method, plan.sampler, case, TensorCache(tmp_path))
    assert left_in(backbone.transformer) == before
    assert first.latents_BCFHW.shape == backbone.layout.latent_shape
    assert torch.isfinite(first.latents_BCFHW).all()
    assert len(first.trace) == plan.method.inner_iterations(4)
    spent = replace(first.passes, block_forwards=first.passes.block_forwards - first.passes.reference_forwards)
    declared = plan.method.budget(backbone.layout, plan.sampler)
    assert replace(spent, reference_forwards=0) == declared
    second = transfer_case(backbone, plan.method, plan.sampler, case, TensorCache(tmp_path))
    assert torch.equal(second.latents_BCFHW, first.latents_BCFHW)
    assert second.passes.reference_forwards == 0
    if isinstance(plan.method, Tuned):
        assert second.trace == []
    mirrored = replace(case, reference=replace(case.reference, frames_THWC=case.reference.frames_THWC.flip(0, 2)))
    other = transfer_case(backbone, plan.method, plan.sampler, mirrored, TensorCache(None))
    assert torch.equal(other.latents_BCFHW, first.latents_BCFHW) == (option == "none")
