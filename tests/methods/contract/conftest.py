"""A small random model of every architecture, loaded once, and checked plans for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from omegaconf import OmegaConf

from fastvmt.backbones.base import Backbone
from fastvmt.construct import construct
from fastvmt.engine.plan import Plan, make_plan
from fastvmt.errors import UserError
from fastvmt.types import PassCounter
from helpers.architectures import ARCHITECTURES
from helpers.config import composed
from helpers.contract import NEEDED, OWN, ROTATING, SMALL, STEPS, Model
from helpers.transfers import encode_once


@pytest.fixture(scope="session", params=sorted(ARCHITECTURES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """An architecture and the folder of its random model."""
    architecture = ARCHITECTURES[request.param]
    return architecture, architecture.save(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def overrides(model: Model) -> list[str]:
    """Of a run with the random model."""
    architecture, folder = model
    return [*architecture.overrides, f"backbone.path={folder}", "backbone.height=32", "backbone.width=32"]


@pytest.fixture(scope="session")
def loaded(overrides: list[str]) -> Backbone:
    backbone: Backbone = construct(composed(*overrides).backbone, "backbone")
    return encode_once(backbone)


@pytest.fixture
def backbone(loaded: Backbone) -> Backbone:
    loaded.passes = PassCounter()
    loaded.choose_expert(1.0)
    return loaded


def rotating(change: str) -> str | None:
    """The word of a change that needs a rotary embedding."""
    return next((word for word in change.split() if word in ROTATING), None)


@pytest.fixture(scope="session")
def plan_of(overrides: list[str], loaded: Backbone) -> Callable[..., Plan]:
    """A checked plan of four steps, the first two guided, on the random model; made once for all its transfers."""

    def make(option: str, *changes: str) -> Plan:
        for word in filter(None, map(rotating, changes)):
            if not loaded.layout.rotary:
                with pytest.raises(UserError, match=rf"^{re.escape(word)} needs a rotary embedding"):
                    compose(option, *changes)
                pytest.skip(f"the model has no rotary embedding: {word} is refused")
        return compose(option, *changes)

    @cache
    def compose(option: str, *changes: str) -> Plan:
        base = composed(
            *overrides,
            f"method={option}",
            "guidance.block=1",
            "guidance.iterations=4",
            "guidance.fraction=0.5",
            "guidance.reference_noise=0.2",
            "guidance.rope=false",
            "window.l=3",
            f"sampler.steps={STEPS}",
            *NEEDED.get(option, []),
            *OWN.get(option, []),
        )
        small = [
            f"method.{key}={value}" for key, value in SMALL.items() if OmegaConf.select(base.method, key) is not None
        ]
        base.merge_with_dotlist([*small, *(word for change in changes for word in change.split())])
        plan = make_plan(base)
        return replace(plan, cases=[plan.cases[0]])  # rendered here, not for each of its transfers

    return make
