"""Predicted memory against bytes that torch allocates, on random models of every kind, and by hand at real size."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import fastvmt.torchvision_ops  # noqa: F401  diffusers imports torchvision

# isort: split
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan, WanTransformer3DModel

from fastvmt.backbones.checkpointing import keep
from fastvmt.backbones.cogvideox import autoencoder_of as cogvideox_autoencoder
from fastvmt.backbones.folder import Fields
from fastvmt.backbones.layout import AutoencoderShape, BlockShape, Layout, Weights
from fastvmt.backbones.pretrained import Pretrained
from fastvmt.backbones.wan import WanBlock
from fastvmt.backbones.wan import autoencoder_of as wan_autoencoder
from fastvmt.construct import construct
from fastvmt.cost.memory import GIB
from fastvmt.cost.peaks import Use, coding, guided, kept, passing, peaks, tokens_of
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Memory
from helpers.allocations import allocations
from helpers.architectures import ARCHITECTURES
from helpers.config import composed
from helpers.live_bytes import LiveBytes

KINDS = ("wan", "wan22_ti2v_5b", "cogvideox_5b", "cogvideox_2b")


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, ARCHITECTURES[request.param].save(tmp_path_factory.mktemp(request.param))


def load(folder: tuple[str, Path], *changes: str) -> Pretrained:
    name, path = folder
    size = ["backbone.height=96", "backbone.width=96", "device=cpu"]
    cfg = composed(*ARCHITECTURES[name].overrides, f"backbone.path={path}", *size, *changes)
    backbone: Pretrained = construct(cfg.backbone, "backbone")
    return backbone


@pytest.fixture(scope="module")
def backbone(folder: tuple[str, Path]) -> Pretrained:
    return load(folder)


def reading(backbone: Pretrained, memory: Memory, block: int) -> tuple[int, int]:
    """Bytes that a gradient keeps of a reading, and the most that it holds while it is taken."""
    backbone.remember(memory)
    x = seeded_noise(backbone.layout.latent_shape, 11, backbone.device).requires_grad_(True)
    left, _, read = allocations(partial(backbone.hidden, x, 0.7, backbone.embed("a dog"), block))
    _, peak, _ = allocations(lambda: torch.autograd.grad(read.sum(), x))
    return left, left + peak


@pytest.mark.parametrize("memory", Memory)
def test_a_gradient_keeps_what_is_predicted(backbone: Pretrained, memory: Memory) -> None:
    """Of a block, within 6 %: sums of rows and of attention, which are a share of narrow blocks alone, are left out."""
    (less, _), (more, _) = (reading(backbone, memory, block) for block in (0, 1))
    block, tokens = backbone.layout.block, tokens_of(backbone.layout)
    assert more - less == pytest.approx(kept(block, tokens, memory, 4), rel=0.06)


@pytest.mark.parametrize("memory", Memory)
def test_a_reading_holds_what_is_predicted(backbone: Pretrained, memory: Memory) -> None:
    """Of two blocks, within 12 %."""
    _, peak = reading(backbone, memory, 1)
    block, tokens = backbone.layout.block, tokens_of(backbone.layout)
    assert peak == pytest.approx(guided(block, tokens, memory, 4, 2), rel=0.12)


def test_a_pass_without_gradient_holds_what_is_predicted(backbone: Pretrained) -> None:
    x, text = seeded_noise(backbone.layout.latent_shape, 11, backbone.device), backbone.embed("a dog")
    with torch.no_grad():
        _, peak, _ = allocations(partial(backbone.velocity, x, 0.7, text))
    assert peak == pytest.approx(passing(backbone.layout.block, tokens_of(backbone.layout), 4), rel=0.2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_are_what_is_loaded(folder: tuple[str, Path], dtype: str) -> None:
    """Exactly, in every number format; the text encoder's too."""
    number = getattr(torch, dtype)
    backbone = load(folder)
    backbone.dtype = number
    backbone.text_encoder.dtype = number
    told = type(backbone).weights_of(str(folder[1]), number)
    transformer, blocks = backbone._expert("transformer", backbone.device)

    def size(module: torch.nn.Module) -> int:
        return sum(parameter.nbytes for parameter in module.parameters())

    tables = sum(p.nbytes for block in blocks for p in block.module.parameters(recurse=False))
    inside = sum(size(block.module) for block in blocks) - tables
    assert told == Weights(
        size(backbone.text_encoder.load()), size(backbone.vae), size(transformer), inside, inside // len(blocks)
    )


WAN = Layout("wan", 81, 480, 832, 30, 4, 8, 16, (1, 2, 2), 12, block=BlockShape(1536, 8960, 512))
WAN_14B = replace(WAN, depth=40, heads=40, block=BlockShape(5120, 13824, 512))


def real_reading(layout: Layout, memory: Memory, blocks: int) -> tuple[int, int]:
    """As :func:`reading`, of Wan in bfloat16 at its real size, without content."""
    number = torch.bfloat16
    with FakeTensorMode():
        model = WanTransformer3DModel(
            num_attention_heads=layout.heads, ffn_dim=layout.block.ffn, num_layers=blocks, text_dim=64
        ).requires_grad_(False)
        for module in model.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                kept_single = "norm" in type(module).__name__.lower() and not hasattr(module, "elementwise_affine")
                if name != "scale_shift_table" and not kept_single:
                    setattr(module, name, torch.nn.Parameter(parameter.to(number), requires_grad=False))
        wrapped = [WanBlock(block, f"blocks.{i}") for i, block in enumerate(model.blocks)]
        keep(model, wrapped, memory)
        x = torch.randn(layout.latent_shape, dtype=number, requires_grad=True)
        text, time = torch.randn(1, layout.block.text_tokens, 64, dtype=number), torch.full((1,), 500.0)
        with LiveBytes([*model.parameters(), *model.buffers(), x, text, time]) as live:
            out = model(x, time, text, return_dict=False)[0]
            left, live.peak = live.now, live.now
            out.float().sum().backward()
    return left, live.peak


@pytest.mark.parametrize("memory", Memory)
@pytest.mark.parametrize("layout", [WAN, WAN_14B])
def test_real_sizes_keep_and_hold_what_is_predicted(layout: Layout, memory: Memory) -> None:
    (less, _), (more, peak) = (real_reading(layout, memory, blocks) for blocks in (2, 3))
    assert more - less == pytest.approx(kept(layout.block, tokens_of(layout), memory, 2), rel=0.01)
    assert peak == pytest.approx(guided(layout.block, tokens_of(layout), memory, 2, 3), rel=0.06)


AUTOENCODERS = {
    "wan": (AutoencoderKLWan, {}, wan_autoencoder, 16),
    "residual": (
        AutoencoderKLWan,
        {
            "base_dim": 160,
            "decoder_base_dim": 256,
            "z_dim": 48,
            "is_residual": True,
            "patch_size": 2,
            "in_channels": 12,
            "out_channels": 12,
            "scale_factor_spatial": 16,
            "latents_mean": [0.0] * 48,
            "latents_std": [1.0] * 48,
        },
        wan_autoencoder,
        48,
    ),
    "cogvideox": (
        AutoencoderKLCogVideoX,
        {
            "block_out_channels": (128, 256, 256, 512),
            "down_block_types": ("CogVideoXDownBlock3D",) * 4,
            "up_block_types": ("CogVideoXUpBlock3D",) * 4,
            "latent_channels": 16,
            "layers_per_block": 3,
        },
        cogvideox_autoencoder,
        16,
    ),
}
"""The published models' autoencoders, and the channels of their latents."""


@pytest.mark.parametrize("name", AUTOENCODERS)
@pytest.mark.parametrize("tiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_published_autoencoders_hold_what_is_predicted(name: str, tiled: bool, tmp_path: Path) -> None:
    """Tensors of encoding and decoding, without content, within 10 %, in tiles 15 %; not what convolutions work in."""
    kind, config, shape_of, channels = AUTOENCODERS[name]
    height, width = (288, 416) if tiled else (96, 160)
    factor = config.get("scale_factor_spatial", 8)
    with FakeTensorMode(), torch.no_grad():
        vae = kind(**config)
        vae.save_config(tmp_path)
        (tmp_path / "vae").mkdir()
        (tmp_path / "config.json").rename(tmp_path / "vae/config.json")
        layout = replace(
            WAN, frames=17, height=height, width=width, autoencoder=shape_of(Fields(tmp_path, "vae/config.json"))
        )
        encode, decode = coding(layout.autoencoder, layout, Memory.low if tiled else Memory.fast)
        if tiled:
            vae.enable_tiling()
        else:
            with LiveBytes(vae.parameters()) as live:
                vae.encode(torch.zeros(1, 3, 17, height, width)).latent_dist.mode()
            assert live.peak == pytest.approx(encode, rel=0.1)
        with LiveBytes(vae.parameters()) as live:
            vae.decode(torch.zeros(1, channels, 5, height // factor, width // factor))
        assert live.peak == pytest.approx(decode, rel=0.15 if tiled else 0.1)


def test_targets() -> None:
    """GiB of the published sizes, 81 frames of 480 x 832, reading block 14, in bfloat16."""
    shape = AutoencoderShape(4 * 37 * 96, 4 * 51 * 96, 256**2)
    small, large = replace(WAN, autoencoder=shape), replace(WAN_14B, autoencoder=shape)
    gib = int(GIB)
    weights = Weights(int(10.6 * gib), int(0.48 * gib), int(2.7 * gib), int(2.6 * gib), int(2.6 * gib / 30))
    heavy = replace(weights, transformer=int(26.8 * gib), blocks=int(26.3 * gib), layers=int(26.3 * gib / 40))

    def most(layout: Layout, weights: Weights, memory: Memory, offload: bool = False) -> float:
        return max(peaks(layout, weights, Use(memory, offload, 2, 14)).values()) / gib

    assert most(small, weights, Memory.fast) <= 40
    assert most(small, weights, Memory.balanced) <= 22
    assert most(small, weights, Memory.low) <= 12
    assert most(large, heavy, Memory.balanced, offload=True) <= 48
    assert most(large, heavy, Memory.low, offload=True) <= 17
