"""Low-rank adapters against merged weights and diffusers, on both shapes of attention."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from fastvmt.backbones.base import Backbone
from fastvmt.backbones.wan import WanBackbone, WanBlock
from fastvmt.tuning.lora import DOWN, PREFIX, UP, LoraSet
from helpers.adapters import CPU, lora, randomised, velocity
from helpers.transfers import remains


@pytest.fixture(params=["loaded_backbone", "loaded_cogvideox"])
def model(request: pytest.FixtureRequest) -> Backbone:
    return request.getfixturevalue(request.param)


def merged(model: Backbone, adapters: list[LoraSet]) -> Backbone:
    """A backbone with W + up down in place of W."""
    other = copy.copy(model)
    other.transformer = copy.deepcopy(model.transformer)
    for adapter in adapters:
        for name, down in adapter.tensors().items():
            if name.endswith(DOWN):
                stem = name.removesuffix(DOWN)
                layer = other.transformer.get_submodule(stem.removeprefix(PREFIX))
                layer.weight.data += adapter.tensors()[stem + UP] @ down
    return other


def test_lora_equals_merged_weights(model: Backbone) -> None:
    one, two = randomised(lora(model, feed_forward=True)), randomised(lora(model), 0.2)
    assert isinstance(one, LoraSet) and isinstance(two, LoraSet)
    assert len(one.parameters) == 3 * 6 * 2
    first, second = velocity(merged(model, [one])), velocity(merged(model, [one, two]))
    with one.installed(model.blocks):
        torch.testing.assert_close(velocity(model), first, atol=1e-4, rtol=1e-4)
        with two.installed(model.blocks):  # both sets act together
            torch.testing.assert_close(velocity(model), second, atol=1e-4, rtol=1e-4)


class OneLayer(WanBlock):
    """A block with one linear layer."""

    attention_layers = ("attn1.to_q",)

    def __init__(self, inputs: int, outputs: int) -> None:
        layers = nn.ModuleDict({"attn1": nn.ModuleDict({"to_q": nn.Linear(inputs, outputs)})})
        super().__init__(layers, "blocks.0")


def test_lora_starts_as_the_original() -> None:
    torch.manual_seed(0)
    block, state = OneLayer(400, 30), torch.get_rng_state()
    adapter = LoraSet.initial([block], False, 8, 0, CPU, 0.0)
    down, up = adapter.tensors().values()
    assert float(down.std()) == pytest.approx(1 / 8, rel=0.05)
    assert down.shape == (8, 400) and up.shape == (30, 8) and not up.any()
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_takes_parts_of_the_input_and_scales_the_rest() -> None:
    block, x = OneLayer(4000, 4000), torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    name, linear = f"{PREFIX}blocks.0.attn1.to_q", block.attention["to_q"]
    adapter = LoraSet({name + DOWN: torch.eye(4000), name + UP: torch.eye(4000)}, [block], CPU, drop=0.25)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), adapter.installed([block]):
        torch.manual_seed(0)
        update = block.attention["to_q"](x) - linear(x)
    gone = update.abs() < 1e-5
    assert float(gone.float().mean()) == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(update[~gone], x[~gone] / 0.75, atol=1e-4, rtol=1e-3)


def test_diffusers_reads_the_artefact(model: Backbone) -> None:
    adapter, other = randomised(lora(model, feed_forward=True)), copy.copy(model)
    other.transformer = copy.deepcopy(model.transformer)
    other.transformer.load_lora_adapter(adapter.tensors(), prefix="transformer")
    with adapter.installed(model.blocks):
        torch.testing.assert_close(velocity(model), velocity(other), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("target", "error"), [("attn1.missing", AttributeError), ("ffn", ValueError)])
def test_layers_that_cannot_be_adapted_change_nothing(
    backbone: WanBackbone, target: str, error: type[Exception]
) -> None:
    before, fresh = remains(backbone.transformer), lora(backbone)
    name = f"{PREFIX}blocks.2.{target}"
    parameters = fresh.tensors() | {name + DOWN: torch.zeros(4, 48), name + UP: torch.zeros(48, 4)}
    with pytest.raises(error):
        LoraSet(parameters, backbone.blocks, CPU)
    assert remains(backbone.transformer) == before
