"""What every architecture's file must get right, beside the methods' contract, which any function would satisfy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fastvmt.backbones.block import Block, rotate
from fastvmt.backbones.pretrained import Pretrained
from fastvmt.backbones.wan import WanBackbone, WanBlock
from fastvmt.construct import construct
from helpers.architectures import ARCHITECTURES
from helpers.config import composed
from helpers.random_models import SMALL

SIZE = ("backbone.frames=9", "backbone.height=48", "backbone.width=48", "device=cpu")


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    entry = ARCHITECTURES[request.param]
    path = entry.save(tmp_path_factory.mktemp(request.param))
    loaded: Pretrained = construct(composed(*entry.overrides, *SIZE, f"backbone.path={path}").backbone, "backbone")
    return loaded


@pytest.fixture
def noise(backbone: Pretrained) -> Tensor:
    return torch.randn(backbone.layout.latent_shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("at", range(3))
def test_a_reading_sees_what_the_blocks_own_attention_sees(backbone: Pretrained, noise: Tensor, at: int) -> None:
    backbone.choose_expert(0.9)
    text, block = backbone.embed("a dog on grass"), backbone.blocks[at]
    seen: list[Tensor] = []
    hook = block.attention.to_q.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    with torch.no_grad():
        backbone.velocity(noise, 0.9, text)
        backbone.query_key(noise, 0.9, text, at, rope=False)
    hook.remove()
    full, read = seen
    torch.testing.assert_close(read, full[:, -read.shape[1] :], rtol=1e-5, atol=1e-5)


def test_normalisation_is_undone(backbone: Pretrained, noise: Tensor) -> None:
    torch.testing.assert_close(backbone.encoded(backbone.normalised(noise)), noise)


def test_own_tables_change_nothing(backbone: Pretrained, noise: Tensor) -> None:
    if not backbone.layout.rotary:
        pytest.skip("rotates nothing")
    text = backbone.embed("a dog on grass")
    with torch.no_grad():
        own = backbone.velocity(noise, 0.9, text)
        with backbone.rotated_by(backbone.rotation(), 0.9):
            torch.testing.assert_close(backbone.velocity(noise, 0.9, text), own, rtol=1e-4, atol=1e-5)


def test_an_architecture_names_all_of_its_parts() -> None:
    with pytest.raises(TypeError, match="Nameless names no kind, published, parts, stack, block_type"):
        type("Nameless", (Pretrained,), {})
    block = type("OwnBlock", (Block,), {})
    named = {"kind": "Own", "published": (), "parts": {}, "stack": "blocks", "block_type": block}
    with pytest.raises(TypeError, match="OwnBlock names no feed_forward_layers"):
        type("Own", (Pretrained,), named)


def test_a_model_that_rotates_needs_the_blocks_rotation(random_wan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(WanBlock, "rotation")
    with pytest.raises(TypeError, match="WanBlock names no rotation, and random_wan rotates queries and keys"):
        WanBackbone(str(random_wan), name="random_wan", **SMALL)


def test_heads_may_have_tables_of_their_own() -> None:
    x = torch.randn(2, 5, 3, 8)
    cos, sin = torch.randn(2, 5, 3, 4)
    own = rotate(x, cos.flatten(1), sin.flatten(1))
    each = [rotate(x[:, :, [head]], cos[:, head], sin[:, head]) for head in range(3)]
    assert torch.equal(own, torch.cat(each, 2))


def test_clips_of_every_legal_length_come_back_whole(backbone: Pretrained) -> None:
    layout = backbone.layout
    legal = [count for count in range(layout.clip.step + 1, 22) if layout.clip.takes(count)]
    assert len(legal) > 1
    for count in legal:
        with torch.no_grad():
            latents = backbone.vae.encode(torch.zeros(1, 3, count, 48, 48)).latent_dist.mode()
            frames = backbone.vae.decode(latents).sample
        assert latents.shape[2] == (count - 1) // layout.temporal_factor + 1
        assert frames.shape[2] == count
