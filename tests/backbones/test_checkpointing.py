"""Presets of memory: the same values and gradients, and less kept from one to the next."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from fastvmt.backbones.pretrained import Pretrained
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Memory
from fastvmt.types import PassCounter
from helpers.allocations import allocations

READINGS = {"query_key": (2, False), "tapped_velocity": (2, False), "hidden": (2,)}


@pytest.fixture(params=["loaded_backbone", "cogvideox"])
def backbone(request: pytest.FixtureRequest):
    backbone: Pretrained = request.getfixturevalue(request.param)
    backbone.passes = PassCounter()
    yield backbone
    backbone.remember(Memory.fast)


def gradient(backbone: Pretrained, reading: str) -> list[Tensor]:
    x = seeded_noise(backbone.layout.latent_shape, 11, backbone.device).requires_grad_(True)
    read = getattr(backbone, reading)(x, 0.7, backbone.embed("a dog on grass"), *READINGS[reading])
    values = read if isinstance(read, tuple) else (read,)
    loss = sum((value * value.detach().cos()).sum() for value in values if value.requires_grad)
    return [*(value.detach() for value in values), *torch.autograd.grad(loss, x)]


@pytest.mark.parametrize("reading", READINGS)
def test_presets_give_the_same_values_and_gradients(backbone: Pretrained, reading: str) -> None:
    results = []
    for memory in Memory:
        backbone.remember(memory)
        results.append(gradient(backbone, reading))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    assert results[0][-1].abs().max() > 0


def test_each_preset_keeps_less(backbone: Pretrained) -> None:
    x = seeded_noise(backbone.layout.latent_shape, 11, backbone.device).requires_grad_(True)
    text = backbone.embed("a dog on grass")
    kept = []
    for memory in Memory:
        backbone.remember(memory)
        kept.append(allocations(partial(backbone.hidden, x, 0.7, text, 2))[0])
    fast, balanced, low = kept
    assert balanced < 0.9 * fast
    assert low < 0.3 * balanced


def test_decoding_in_tiles_is_for_low_alone(backbone: Pretrained) -> None:
    """Frames of one tile come out the same: 48 pixels are one of Wan's. The random CogVideoX's tiles do not fit."""
    tiled, latents = [], torch.zeros(backbone.layout.latent_shape)
    hook = backbone.vae.decoder.register_forward_pre_hook(lambda *_: tiled.append(backbone.vae.use_tiling))
    whole = backbone.decode(latents)
    backbone.remember(Memory.low)
    if backbone.kind == "Wan":
        assert torch.equal(backbone.decode(latents), whole)
    else:
        with pytest.raises(ValueError, match="48 x 56 pixels instead of 48 x 48: its tiles do not fit together"):
            backbone.decode(latents)
    hook.remove()
    assert set(tiled) == {False, True}
    assert not backbone.vae.use_tiling
