"""The passes that a method declares are those it makes, with and without negative passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastvmt.backbones.base import Backbone
from fastvmt.engine.plan import Plan
from helpers.contract import OPTIONS, transfer_first


@pytest.mark.parametrize("word", ["sampler.cfg_scale=1", "sampler.negative_every=3"])
@pytest.mark.parametrize("option", OPTIONS)
def test_budget_without_a_negative_pass_in_all_or_some_steps(
    backbone: Backbone, plan_of: Callable[..., Plan], option: str, word: str, tmp_path: Path
) -> None:
    plan = plan_of(option, word)
    passes = transfer_first(backbone, plan, tmp_path).passes
    declared = plan.method.budget(backbone.layout, plan.sampler)
    assert passes.block_forwards - passes.reference_forwards == declared.block_forwards
    assert (passes.gradients, passes.block_backwards) == (declared.gradients, declared.block_backwards)
