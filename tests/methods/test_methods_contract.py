"""What every method promises, for every yaml of ``conf/method`` on a small random model of every architecture."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache
from fastvmt.config import config_folder
from fastvmt.construct import construct
from fastvmt.engine.plan import Plan, make_plan
from fastvmt.errors import UserError
from fastvmt.files import write_tensors
from fastvmt.methods.base import Method
from fastvmt.methods.transfer import transfer_case
from fastvmt.methods.tuned import Tuned
from fastvmt.types import PassCounter, TransferResult
from helpers.architectures import ARCHITECTURES, Architecture
from helpers.config import composed
from helpers.transfers import remains, same

OPTIONS = sorted(file.stem for file in (config_folder() / "method").glob("*.yaml"))
VARIANTS: dict[str, list[str]] = {
    "fastvmt": [
        "guidance.reference_noise=1.0",
        "guidance.rope=true",
        "guidance.source=pass",
        "guidance.diagnostics=true guidance.window_weight=1.0",
        "guidance.diagnostics=true guidance.window_weight=1.0 guidance.source=pass",
        "skip.delta=1 skip.predict=linear",
    ],
    "ditflow": [
        "method.target=embedding",
        "method.inject=true",
        "method.target=embedding method.inject=true",
        "method.displacement=expectation",
    ],
    "moft": ["method.reference_noise=1.0"],
    "smm": [
        "method.ref=matched",
        "method.init=highfreq",
        "method.restart=true",
        "method.ref=rf_inversion method.init=highfreq",
    ],
    "motionclone": ["method.exclude_self=true", "method.rope=true"],
    "motion_director": ["method.feed_forward=true", "method.inversion.share=0.5"],
    "flowmotion": ["method.representation=clean_latent"],
}
"""Settings that take another path through a method, alone or together; an option without any is checked as it comes."""
NEEDED = {"sdedit": ["sampler.strength=0.7"]}
"""Settings without which an option is refused."""
OWN = {"smm": ["method.ref=clean"], "motionclone": ["method.weight=2000"]}
"""Settings of tiny-wan's preset that are wanted for all models, or for none: to read the reference at one noise level,
beside ``guidance.reference_noise``; the paper's weight, since tiny-wan's lets the latents of random models diverge."""
ROTATING = ("guidance.rope=true", "method.target=embedding", "method.rope=true")
"""Settings that need a rotary embedding, which not every model has."""
CASES = [(option, change) for option in OPTIONS for change in ["", *VARIANTS.get(option, [])]]
SMALL = {"iterations": 2, "fraction": 0.5, "tuning.iterations": 2, "blocks": [1]}
"""Applied to the keys of a method that has them, so that a transfer takes a second."""
BLOCK, GUIDED, STEPS = 1, 2, 4
"""The block that is read, and the guided ones of the denoising steps, in all plans here."""
READ = dict.fromkeys(["ditflow", "motionclone", *(name for name in OPTIONS if name.startswith("fastvmt"))], BLOCK)
READ |= {"moft": BLOCK + 1, "smm": BLOCK + 1}
"""Blocks of one reading of the reference, up to the block's input or its output; FlowMotion reads all, others none."""
AT_EVERY_STEP = ("flowmotion", "guidance.reference_noise=1.0", "method.reference_noise=1.0", "method.ref=matched")
"""Methods and settings that read it at the noise level of every guided step; the others at one level, hence once."""


Model = tuple[Architecture, Path]


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """An architecture and the folder of its random model."""
    architecture = ARCHITECTURES[request.param]
    return architecture, architecture.save(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def overrides(model: Model) -> list[str]:
    """Of a run with the random model."""
    architecture, folder = model
    return [*architecture.overrides, f"backbone.path={folder}", "backbone.height=48", "backbone.width=48"]


@pytest.fixture(scope="module")
def loaded(overrides: list[str]) -> Backbone:
    return construct(composed(*overrides).backbone, "backbone")


@pytest.fixture
def backbone(loaded: Backbone) -> Backbone:
    loaded.passes = PassCounter()
    loaded.choose_expert(1.0)
    return loaded


def rotating(change: str) -> str | None:
    """The word of a change that needs a rotary embedding."""
    return next((word for word in change.split() if word in ROTATING), None)


@pytest.fixture
def plan_of(overrides: list[str], loaded: Backbone) -> Callable[..., Plan]:
    """A checked plan of four steps, the first two guided, on the random model."""

    def make(option: str, *changes: str) -> Plan:
        for word in filter(None, map(rotating, changes)):
            if not loaded.layout.rotary:
                with pytest.raises(UserError, match=rf"^{re.escape(word)} needs a rotary embedding"):
                    compose(option, *changes)
                pytest.skip(f"the model has no rotary embedding: {word} is refused")
        return compose(option, *changes)

    def compose(option: str, *changes: str) -> Plan:
        base = [
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
        ]
        keys = composed(*base).method
        small = [f"method.{key}={value}" for key, value in SMALL.items() if OmegaConf.select(keys, key) is not None]
        return make_plan(composed(*base, *small, *(word for change in changes for word in change.split())))

    return make


def left_in(backbone: Backbone) -> list[object]:
    """What a transfer could leave in any transformer of a model."""
    return [remains(transformer) for transformer, _ in backbone.experts]


def transfer(backbone: Backbone, plan: Plan, folder: Path | None = None, **hooks: Callable) -> TransferResult:
    return transfer_case(backbone, plan.method, plan.sampler, plan.cases[0], TensorCache(folder), **hooks)


def test_every_file_of_conf_method_is_here() -> None:
    assert {"fastvmt", "none", "sdedit", "ditflow", "moft", "smm", "motionclone", "flowmotion"} <= set(OPTIONS)
    assert set(VARIANTS) <= set(OPTIONS)


@pytest.mark.parametrize(("option", "change"), [case for case in CASES if case[1]])
def test_every_variant_changes_the_settings(option: str, change: str) -> None:
    def settings(*words: str) -> object:
        return OmegaConf.to_container(composed(f"method={option}", *words).method, resolve=True)

    assert [word for word in change.split() if settings(word) == settings()] == []


def reference_forwards(option: str, change: str, depth: int) -> int:
    """Block forwards over a reference that is not stored yet."""
    if change == "method.representation=clean_latent":
        return 0
    if "rf_inversion" in change:
        return STEPS * depth + GUIDED * READ[option]
    blocks = depth if option == "flowmotion" else READ.get(option, 0)
    return blocks * (GUIDED if option in AT_EVERY_STEP or change in AT_EVERY_STEP else 1)


@pytest.mark.parametrize(("option", "change"), CASES)
def test_a_transfer_is_whole_repeatable_declared_and_leaves_nothing(
    backbone: Backbone, plan_of: Callable[..., Plan], option: str, change: str, tmp_path: Path
) -> None:
    plan = plan_of(option, change)
    before = left_in(backbone)
    first = transfer(backbone, plan, tmp_path)
    assert left_in(backbone) == before
    assert first.passes.reference_forwards == reference_forwards(option, change, backbone.layout.depth)

    assert first.latents_BCFHW.shape == backbone.layout.latent_shape
    assert first.latents_BCFHW.dtype == torch.float32
    assert not first.latents_BCFHW.requires_grad
    assert torch.isfinite(first.latents_BCFHW).all()
    assert first.video.size == (9, 48, 48)
    assert len(first.trace) == plan.method.inner_iterations(plan.sampler.steps)
    assert all(set(row) >= {"step", "iteration", "sigma", "loss", "grad_norm", "reused"} for row in first.trace)

    torch.manual_seed(99)
    second = transfer(backbone, plan, tmp_path)
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


@pytest.mark.parametrize("word", ["sampler.cfg_scale=1", "sampler.negative_every=2", "sampler.negative_every=3"])
@pytest.mark.parametrize("option", OPTIONS)
def test_budget_without_a_negative_pass_in_all_or_some_steps(
    backbone: Backbone, plan_of: Callable[..., Plan], option: str, word: str, tmp_path: Path
) -> None:
    plan = plan_of(option, word)
    passes = transfer(backbone, plan, tmp_path).passes
    declared = plan.method.budget(backbone.layout, plan.sampler)
    assert passes.block_forwards - passes.reference_forwards == declared.block_forwards
    assert (passes.gradients, passes.block_backwards) == (declared.gradients, declared.block_backwards)


class Stop(Exception):
    """Raised by the tests in the middle of a transfer."""


SHARES = (0.05, 0.3, 0.6, 0.9)
"""Moments of a transfer, as shares of the calls of a layer that every reading runs."""


def assert_an_error_leaves_nothing(
    backbone: Backbone, model: Model, plan: Plan, shares: tuple[float, ...] = SHARES
) -> None:
    """A hook counts the calls of that layer; further transfers fail at one of them each."""
    calls, limit = 0, 10**9

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > limit:
            raise Stop

    watched = backbone.transformer.get_submodule(model[0].first).register_forward_hook(count)
    try:
        before = left_in(backbone)
        transfer(backbone, plan)
        whole = calls
        for share in shares:
            calls, limit = 0, int(share * whole)
            with pytest.raises(Stop):
                transfer(backbone, plan)
            assert left_in(backbone) == before, share
    finally:
        watched.remove()


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
    write_tensors(file, transfer(backbone, plan_of("ditflow", change)).learned, "ditflow")
    plan = plan_of("ditflow", change, f"method.embeddings={file}")
    assert transfer(backbone, plan).passes.gradients == 0
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
                transfer(backbone, plan, **hooks)
        assert left_in(backbone) == before


@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "none"])
def test_the_reference_matters(backbone: Backbone, plan_of: Callable[..., Plan], option: str) -> None:
    plan = plan_of(option)
    case = plan.cases[0]
    mirrored = replace(case, reference=replace(case.reference, frames_THWC=case.reference.frames_THWC.flip(0, 2)))
    assert not same(
        transfer(backbone, plan), transfer_case(backbone, plan.method, plan.sampler, mirrored, TensorCache(None))
    )
