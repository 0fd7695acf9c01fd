"""Blocks that wait on the CPU: the same numbers, and no weights on the device but a layer's while it computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fastvmt.backbones.pretrained import Pretrained
from fastvmt.construct import construct
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Memory
from fastvmt.types import TransferCase
from helpers.architectures import ARCHITECTURES
from helpers.config import composed
from helpers.transfers import same, transfer

READINGS = {"query_key": (2, False), "tapped_velocity": (2, False), "hidden": (1,)}
SIZE = ("backbone.height=48", "backbone.width=48", "device=cpu")
SMALL = {
    "fastvmt": ["guidance.iterations=2", "window.l=3", "skip.delta=2"],
    "flowmotion": ["method.iterations=2"],
    "motionclone": ["method.weight=2000"],
    "motion_director": ["method.tuning.iterations=2", "method.feed_forward=true"],
    "det": ["method.tuning.iterations=2"],
    "motion_inversion": ["method.tuning.iterations=2", "method.blocks=[1]"],
}
"""Methods that read, that inject, and that replace layers and train beside them."""


def loaded(*overrides: str) -> Pretrained:
    backbone: Pretrained = construct(composed(*overrides).backbone, "backbone")
    return backbone


@pytest.fixture(scope="module", params=["wan", "wan22_a14b", "cogvideox_5b"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pretrained, Pretrained]:
    """A random model, resident and offloaded."""
    architecture = ARCHITECTURES[request.param]
    folder = architecture.save(tmp_path_factory.mktemp(request.param))
    where = [*architecture.overrides, f"backbone.path={folder}", *SIZE]
    return loaded(*where), loaded(*where, "backbone.offload=true")


def of_blocks(backbone: Pretrained) -> int:
    """Elements of the parameters of all blocks' layers."""
    return sum(
        parameter.numel()
        for _, blocks in backbone.experts
        for block in blocks
        for name, parameter in block.module.named_parameters()
        if "." in name
    )


def read(backbone: Pretrained, reading: str, sigma: float) -> list[Tensor]:
    x = seeded_noise(backbone.layout.latent_shape, 11, backbone.device).requires_grad_(True)
    found = getattr(backbone, reading)(x, sigma, backbone.embed("a dog on grass"), *READINGS[reading])
    values = found if isinstance(found, tuple) else (found,)
    loss = sum((value * value.detach().cos()).sum() for value in values if value.requires_grad)
    return [*(value.detach() for value in values), *torch.autograd.grad(loss, x)]


@pytest.mark.parametrize("memory", [Memory.balanced, Memory.low])
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("sigma", [0.95, 0.5])
def test_readings_and_gradients_are_the_same(
    pair: tuple[Pretrained, Pretrained], reading: str, memory: Memory, sigma: float
) -> None:
    """Also of readings that stop early, and of both experts."""
    for backbone in pair:
        backbone.remember(memory)
    resident, offloaded = (read(backbone, reading, sigma) for backbone in pair)
    assert all(torch.equal(a, b) for a, b in zip(resident, offloaded, strict=True))
    assert resident[-1].abs().max() > 0


def test_between_forwards_no_layer_of_a_block_holds_weights(pair: tuple[Pretrained, Pretrained]) -> None:
    resident, offloaded = pair
    assert of_blocks(resident) > 10_000
    with torch.no_grad():
        offloaded.velocity(torch.zeros(offloaded.layout.latent_shape), 0.7, offloaded.embed(""))
    assert of_blocks(offloaded) == 0


def test_during_a_forward_one_layer_holds_weights(pair: tuple[Pretrained, Pretrained]) -> None:
    _, offloaded = pair
    offloaded.choose_expert(0.95)
    seen: list[int] = []
    hooks = [
        block.attention.to_q.register_forward_hook(lambda *_: seen.append(of_blocks(offloaded)), prepend=True)
        for block in offloaded.blocks
    ]
    layer = offloaded.blocks[0].attention.to_q
    with torch.no_grad():
        offloaded.velocity(torch.zeros(offloaded.layout.latent_shape), 0.95, offloaded.embed(""))
    for hook in hooks:
        hook.remove()
    assert seen == [layer.in_features * layer.out_features + layer.out_features] * len(offloaded.blocks)


def test_an_error_inside_a_layer_releases_it(pair: tuple[Pretrained, Pretrained]) -> None:
    _, offloaded = pair
    layer = offloaded.blocks[0].attention.to_q
    with pytest.raises(RuntimeError):
        layer(torch.zeros(1, layer.in_features + 1))
    assert of_blocks(offloaded) == 0


@pytest.mark.parametrize("name", SMALL)
def test_methods_give_the_same_video(random_wan: Path, case: TransferCase, name: str) -> None:
    where = [f"backbone.path={random_wan}", *SIZE, "backbone.memory=low"]
    method = construct(composed(f"method={name}", "guidance.block=1", *SMALL[name]).method, "method")
    assert same(*(transfer(loaded(*where, f"backbone.offload={value}"), method, case) for value in (False, True)))


@pytest.mark.gpu
def test_on_a_gpu_the_numbers_are_the_same(random_wan: Path) -> None:
    where = [f"backbone.path={random_wan}", *SIZE[:2], "backbone.device=cuda", "backbone.memory=low"]
    resident, offloaded = loaded(*where), loaded(*where, "backbone.offload=true")
    assert of_blocks(offloaded) == 0
    for a, b in zip(read(resident, "query_key", 0.7), read(offloaded, "query_key", 0.7), strict=True):
        torch.testing.assert_close(a, b)
