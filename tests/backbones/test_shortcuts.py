"""Shortcuts of unguided steps: off changes nothing, a cache leaks nothing, guided steps and readings never see one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.backbones.shortcuts import CACHES, Cache, Series, Shortcuts
from fastvmt.engine.plan import make_plan
from fastvmt.errors import UserError
from fastvmt.guidance.optimisation import guided_steps
from fastvmt.methods.none import NoTransfer
from fastvmt.schedule import seeded_noise
from fastvmt.types import PassCounter, TransferCase
from helpers.config import composed
from helpers.methods import OPTIMISED, fastvmt, make, method_of
from helpers.transfers import SAMPLER, captioned_case, same, transfer

SETTINGS = {
    "first_block": Cache("first_block", threshold=0.2),
    "taylorseer": Cache("taylorseer", interval=2),
    "mag": Cache("mag", ratios=(1.0, 1.01, 0.99, 1.0)),
}
STEPS = 8


@pytest.fixture(params=["backbone", "cogvideox"])
def model(request: pytest.FixtureRequest) -> Backbone:
    backbone: Backbone = request.getfixturevalue(request.param)
    return backbone


@contextmanager
def shortcut(backbone: Backbone, cache: Cache = SETTINGS["first_block"], compiled: bool = False) -> Iterator[None]:
    """The backbone with a shortcut within the context."""
    own = backbone.shortcuts
    backbone.shortcuts = Shortcuts(cache, compiled)
    try:
        yield
    finally:
        backbone.shortcuts.end()
        backbone.shortcuts = own


def passes(backbone: Backbone, names: list[str], batch: int = 1) -> list[Tensor]:
    """Velocities of a few steps of slowly moving latents, one of each name and step."""
    x, text = seeded_noise(backbone.layout.latent_shape, 1, backbone.device), backbone.embed("a dog on grass")
    texts = {name: text if name != "negative" else backbone.embed("") for name in names}
    return [
        backbone.next_velocity(Series(name, i, STEPS), (1 - 0.002 * i) * x, 0.9 - 0.05 * i, texts[name])
        for i in range(STEPS)
        for name in names
    ]


@pytest.mark.parametrize("name", CACHES)
def test_a_cache_skips_blocks_counts_what_ran_and_stays_near(model: Backbone, name: str) -> None:
    plain = passes(model, ["positive"])
    assert model.passes.block_forwards == STEPS * model.layout.depth
    model.passes, ran = PassCounter(), []
    hooks = [block.attention.register_forward_hook(lambda *_: ran.append(1)) for block in model.blocks]
    with shortcut(model, SETTINGS[name]):
        cached = passes(model, ["positive"])
    for hook in hooks:
        hook.remove()
    assert model.passes.block_forwards == len(ran) < STEPS * model.layout.depth
    assert torch.equal(cached[0], plain[0])
    errors = [float((a - b).norm() / b.norm()) for a, b in zip(cached, plain, strict=True)]
    assert 0 < max(errors) < 0.3


@pytest.mark.parametrize("name", CACHES)
def test_passes_of_two_names_share_nothing_and_a_second_series_begins_anew(model: Backbone, name: str) -> None:
    with shortcut(model, SETTINGS[name]):
        positive, negative = passes(model, ["positive"]), []
        model.shortcuts.end()
        negative = passes(model, ["negative"])
        model.shortcuts.end()
        both = passes(model, ["positive", "negative"])
    assert all(torch.equal(a, b) for a, b in zip(both[::2], positive, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(both[1::2], negative, strict=True))


@pytest.mark.parametrize("name", CACHES)
def test_a_pass_of_another_kind_sees_no_hook(model: Backbone, name: str) -> None:
    x, text = seeded_noise(model.layout.latent_shape, 1, model.device), model.embed("a dog on grass")
    expected = model.velocity(x, 0.7, text), *model.query_key(x, 0.7, text, 1, True)
    with shortcut(model, SETTINGS[name]):
        passes(model, ["positive"])
        found = model.velocity(x, 0.7, text), *model.query_key(x, 0.7, text, 1, True)
        assert not model.shortcuts.hooked and not model.transformer.is_cache_enabled
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", CACHES)
def test_guided_steps_are_the_same_and_a_case_repeats_itself(backbone: Backbone, case: TransferCase, name: str) -> None:
    method, other = fastvmt(), replace(case, id="other", prompt="a red car on sand", seed=9)
    plain = transfer(backbone, method, case, steps=STEPS)
    with shortcut(backbone, SETTINGS[name]):
        first, between, again = (transfer(backbone, method, each, steps=STEPS) for each in (case, other, case))
        assert not backbone.shortcuts.hooked
    assert same(first, again) and not same(first, between)
    assert first.trace == plain.trace  # every reading and every guided pass
    assert first.passes.block_backwards == plain.passes.block_backwards
    assert first.passes.block_forwards < plain.passes.block_forwards
    assert not torch.equal(first.latents_BCFHW, plain.latents_BCFHW)
    assert float((first.latents_BCFHW - plain.latents_BCFHW).norm() / plain.latents_BCFHW.norm()) < 0.5
    assert same(transfer(backbone, method, case, steps=STEPS), plain)


@pytest.mark.parametrize(
    "option", ["none", "fastvmt", "motionclone", "det", "motion_director", "motion_inversion", *OPTIMISED]
)
def test_both_passes_in_one_batch_are_two_passes(backbone: Backbone, option: str) -> None:
    kinds = {"none": NoTransfer, "fastvmt": fastvmt, "motionclone": lambda: method_of("motionclone", "weight=1")}
    tuned = option in ("det", "motion_director", "motion_inversion")
    method = make(option) if tuned else kinds.get(option, lambda: method_of(option))()
    case = captioned_case()
    two, one = (transfer(backbone, method, case, batched_cfg=batched) for batched in (False, True))
    torch.testing.assert_close(one.latents_BCFHW, two.latents_BCFHW, rtol=1e-4, atol=1e-4)
    assert one.passes == two.passes


def test_a_batch_is_two_passes_to_rounding(model: Backbone) -> None:
    x, texts = seeded_noise(model.layout.latent_shape, 1, model.device), [model.embed("a dog"), model.embed("")]
    both = model.velocity(x.expand(2, *x.shape[1:]), 0.7, torch.cat(texts))
    torch.testing.assert_close(both, torch.cat([model.velocity(x, 0.7, text) for text in texts]), rtol=1e-5, atol=1e-5)


def test_compiled_blocks_run_in_unguided_steps_alone(
    backbone: Backbone, case: TransferCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced and run by torch as for any compiler; what its own compiler makes of a trace is not tested here."""
    ran = []

    def compiler(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        def run(*inputs: Tensor) -> object:
            ran.append(graph)
            return graph(*inputs)

        return run

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=compiler))
    method = fastvmt()
    plain = transfer(backbone, method, case)
    with shortcut(backbone, Cache(), compiled=True):
        compiled = transfer(backbone, method, case)
    assert compiled.trace == plain.trace and compiled.passes == plain.passes
    torch.testing.assert_close(compiled.latents_BCFHW, plain.latents_BCFHW, rtol=1e-3, atol=1e-3)
    unguided = SAMPLER.steps - guided_steps(SAMPLER.steps, method.guidance.fraction)
    assert len(ran) == 2 * unguided * backbone.layout.depth  # passes with and without the prompt


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["backbone.cache=other"], r"backbone\.cache=other .* one of none, first_block, taylorseer, mag"),
        (["backbone.compile=all"], r"backbone\.compile=all .* one of none, regional"),
        (
            ["backbone.cache=mag", "backbone.cache_ratios=null"],
            r"backbone\.cache_ratios=None .* experiments\.shortcuts calibrate",
        ),
        (["backbone.cache=taylorseer", "backbone.cache_threshold=1"], r"backbone\.cache_threshold=1 .*=first_block or"),
        (["backbone.cache=first_block", "backbone.cache_threshold=-1"], r"backbone\.cache_threshold=-1"),
        (["backbone.cache=taylorseer", "backbone.cache_interval=0"], r"backbone\.cache_interval=0"),
        (["backbone.cache=first_block", "checkpoint_steps=2"], r"none beside checkpoint_steps=2"),
        (["backbone.cache=first_block", "backbone.compile=regional"], r"none beside backbone\.compile=regional"),
        (["backbone.cache=first_block", "method=smm", "method.restart=true"], r"none beside method\.restart"),
        (["backbone.compile=regional", "method=det"], r"backbone\.compile=regional .* none with method=det"),
    ],
)
def test_what_cannot_be_is_refused_before_weights_load(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(composed(*words))


def test_a_cache_that_diffusers_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CACHES, "first_block", "NoSuchConfig")
    with pytest.raises(ValueError, match=r"backbone\.cache=first_block .* the installed diffusers has no such cache"):
        Shortcuts(Cache("first_block"), False)
