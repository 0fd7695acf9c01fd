"""An error in the middle of a transfer leaves nothing in the model, whatever the method and the moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastvmt.backbones.base import Backbone
from fastvmt.engine.plan import Plan
from fastvmt.files import write_tensors
from helpers.contract import CASES, OPTIONS, Model, left_in, transfer_first


class Stop(Exception):
    """Raised by the tests in the middle of a transfer."""


SHARES = (0.05, 0.3, 0.6, 0.9)
"""Moments of a transfer, as shares of the passes that it declares."""


def assert_an_error_leaves_nothing(
    backbone: Backbone, model: Model, plan: Plan, shares: tuple[float, ...] = SHARES
) -> None:
    """Transfers fail at one of the calls each of a layer that every pass and every reading runs, counted by a hook."""
    calls, limit = 0, 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > limit:
            raise Stop

    layers = [expert.get_submodule(model[0].first) for expert, _ in backbone.experts]
    watched = [layer.register_forward_hook(count) for layer in layers]
    whole = plan.method.budget(backbone.layout, plan.sampler).block_forwards // backbone.layout.depth
    try:
        before = left_in(backbone)
        for share in shares:
            calls, limit = 0, int(share * whole)
            with pytest.raises(Stop):
                transfer_first(backbone, plan)
            assert left_in(backbone) == before, share
    finally:
        for hook in watched:
            hook.remove()


@pytest.mark.parametrize(("option", "change"), CASES)
def test_an_error_in_the_transformer_leaves_nothing(
    backbone: Backbone, model: Model, plan_of: Callable[..., Plan], option: str, change: str
) -> None:
    assert_an_error_leaves_nothing(backbone, model, plan_of(option, change))


@pytest.mark.parametrize("inject", [False, True])
def test_an_error_under_stored_embeddings_leaves_nothing(
    backbone: Backbone, model: Model, plan_of: Callable[..., Plan], inject: bool, tmp_path: Path
) -> None:
    """In the first guided step and in the second: a step's two passes are a quarter of all."""
    file, change = tmp_path / "learned.safetensors", f"method.target=embedding method.inject={inject}"
    write_tensors(file, transfer_first(backbone, plan_of("ditflow", change)).learned, "ditflow")
    plan = plan_of("ditflow", change, f"method.embeddings={file}")
    assert transfer_first(backbone, plan).passes.gradients == 0
    assert_an_error_leaves_nothing(backbone, model, plan, (0.15, 0.3))


@pytest.mark.parametrize("option", OPTIONS)
def test_an_error_between_iterations_and_steps_leaves_nothing(
    backbone: Backbone, plan_of: Callable[..., Plan], option: str
) -> None:
    def stop(*_: object) -> None:
        raise Stop

    plan, before = plan_of(option), left_in(backbone)
    for hooks in ({"on_iteration": stop}, {"on_step": stop}):
        if "on_step" in hooks or plan.method.inner_iterations(4):
            with pytest.raises(Stop):
                transfer_first(backbone, plan, **hooks)
        assert left_in(backbone) == before
