"""Motion embeddings and temporal convolutions against a block computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fastvmt.backbones.cogvideox import CogVideoXBackbone
from fastvmt.backbones.wan import WanBackbone
from fastvmt.tuning.motion_embedding import MotionEmbeddings, temporal_difference
from fastvmt.tuning.temporal_conv import Initial, temporal_conv
from helpers.adapters import CPU, convolutions, embeddings, randomised

GRID, WIDTH, TOKENS = (5, 6, 6), 48, 180
Projected = Callable[[str, Tensor], Tensor]


def block_inputs() -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Hidden states, text, time modulation, and a rotary embedding that turns nothing."""
    generator = torch.Generator().manual_seed(3)
    x, text, temb = (torch.randn(1, n, WIDTH, generator=generator) for n in (TOKENS, 7, 6))
    return x, text, temb, (torch.ones(1, TOKENS, 1, 24), torch.zeros(1, TOKENS, 1, 24))


def block_by_hand(block: nn.Module, projected: Projected, beside: Callable[[Tensor], Tensor]) -> Tensor:
    """A Wan block with ``projected`` in place of the projections and ``beside`` added to self-attention."""
    x, text, temb, _ = block_inputs()
    shift, scale, gate, *feed = (block.scale_shift_table + temb).chunk(6, dim=1)

    def norm(h: Tensor) -> Tensor:
        return (h - h.mean(-1, keepdim=True)) / (h.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()

    n = norm(x) * (1 + scale) + shift
    q, k = (p / (p.square().mean(-1, keepdim=True) + 1e-6).sqrt() for p in (projected("q", n), projected("k", n)))
    q, k, v = (
        p.unflatten(2, (2, 24))
        for p in (q * block.attn1.norm_q.weight, k * block.attn1.norm_k.weight, projected("v", n))
    )
    weights = torch.einsum("bsnd,btnd->bnst", q, k).div(math.sqrt(24)).softmax(-1)
    attended = block.attn1.to_out[0](torch.einsum("bnst,btnd->bsnd", weights, v).flatten(2))
    x = x + (attended + beside(n)) * gate
    x = x + block.attn2(block.norm2(x), text, None, None)
    return x + block.ffn(norm(x) * (1 + feed[1]) + feed[0]) * feed[2]


@torch.no_grad()
def test_motion_embeddings_enter_before_the_projections(backbone: WanBackbone) -> None:
    adapter, blocks = randomised(embeddings(backbone), 1.0), [block.module for block in backbone.blocks]
    attn, table, value = blocks[1].attn1, *(adapter.parameters[f"blocks.1.{n}"] for n in ("query_key", "value"))
    both, alone = table.repeat_interleave(36, 0).view(1, TOKENS, WIDTH), value.reshape(1, TOKENS, WIDTH)

    def projected(name: str, n: Tensor) -> Tensor:
        return {"q": attn.to_q, "k": attn.to_k, "v": attn.to_v}[name](n + (alone if name == "v" else both))

    x, text, temb, rotary = block_inputs()
    with adapter.installed(backbone.blocks):
        actual = blocks[1](x, text, temb, rotary)
    expected = block_by_hand(blocks[1], projected, torch.zeros_like)
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=2e-5)
    assert not torch.allclose(blocks[1](x, text, temb, rotary), expected, atol=1e-2)


@torch.no_grad()
def test_without_a_value_table_values_stay(backbone: WanBackbone) -> None:
    block = backbone.blocks[1].module
    seen: dict[str, Tensor] = {}
    taps = [
        layer.register_forward_hook(lambda m, a, out, name=name: seen.update({name: out}))
        for name, layer in (("q", block.attn1.to_q), ("k", block.attn1.to_k), ("v", block.attn1.to_v))
    ]
    full = randomised(embeddings(backbone))
    adapter = MotionEmbeddings({n: t for n, t in full.tensors().items() if n.endswith("query_key")}, GRID, CPU)
    block(*block_inputs())
    plain = dict(seen)
    with adapter.installed(backbone.blocks):
        block(*block_inputs())
    for tap in taps:
        tap.remove()
    assert [torch.equal(seen[name], plain[name]) for name in "qkv"] == [False, False, True]


def test_a_coarse_value_table_is_enlarged(backbone: WanBackbone) -> None:
    adapter = embeddings(backbone, pool=4)
    table = adapter.parameters["blocks.1.value"]
    assert table.shape == (5, 2, 2, WIDTH)
    ramp = torch.tensor([[0.0, 0.0], [6.0, 6.0]])[None, :, :, None].expand(5, 2, 2, WIDTH)
    rows = adapter.value_tokens(ramp).view(5, 6, 6, WIDTH)[2, :, 3, 0]  # centres of two cells: rows 1 and 4
    torch.testing.assert_close(rows, torch.tensor([0.0, 0.0, 2.0, 4.0, 6.0, 6.0]))


def test_differences_drop_what_every_frame_shares() -> None:
    generator = torch.Generator().manual_seed(0)
    motion, appearance = torch.randn(5, 2, 3, 4, generator=generator), torch.randn(1, 2, 3, 4, generator=generator)
    a, b = temporal_difference(motion), temporal_difference(motion + appearance)
    torch.testing.assert_close(a[1:], b[1:])
    torch.testing.assert_close(b[0], (motion + appearance)[0])
    torch.testing.assert_close(a.cumsum(0), motion)


@torch.no_grad()
def test_temporal_convolution_stands_beside_attention(backbone: WanBackbone) -> None:
    adapter, blocks = randomised(convolutions(backbone), 0.2), [block.module for block in backbone.blocks]
    attn = blocks[1].attn1
    conv1, conv2 = (adapter.parameters[f"blocks.1.conv{i}"] for i in (1, 2))

    def taps(x_FSC: Tensor, weight: Tensor) -> Tensor:
        """Three taps over frames, one frame at a time, zeros outside."""
        out = torch.zeros(*x_FSC.shape[:2], weight.shape[0])
        for f in range(5):
            for k, g in enumerate((f - 1, f, f + 1)):
                if 0 <= g < 5:
                    out[f] += x_FSC[g] @ weight[:, :, k].T
        return out

    def beside(n: Tensor) -> Tensor:
        hidden = taps(n.view(5, 36, WIDTH), conv1)
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
        return taps(hidden, conv2).view(1, TOKENS, WIDTH)

    def projected(name: str, n: Tensor) -> Tensor:
        return {"q": attn.to_q, "k": attn.to_k, "v": attn.to_v}[name](n)

    x, text, temb, rotary = block_inputs()
    with adapter.installed(backbone.blocks):
        actual = blocks[1](x, text, temb, rotary)
    torch.testing.assert_close(actual, block_by_hand(blocks[1], projected, beside), atol=2e-4, rtol=2e-4)


def test_first_convolution_has_the_spread_it_says(backbone: WanBackbone) -> None:
    for initial, expected in ((Initial.normal, 1.0), (Initial.kaiming, math.sqrt(2 / (3 * WIDTH)))):
        adapter = convolutions(backbone, initial)
        assert float(adapter.tensors()["blocks.0.conv1"].std()) == pytest.approx(expected, rel=0.05)
        assert not adapter.parameters["blocks.0.conv2"].any()


def test_positions_do_not_mix_in_the_temporal_convolution() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 20, 8, generator=generator)  # 5 frames of 4 tokens
    conv1, conv2 = torch.randn(6, 8, 3, generator=generator), torch.randn(8, 6, 3, generator=generator)
    changed = x.clone()
    changed[1, 2 * 4 + 3] += 1  # frame 2, token 3
    moved = (temporal_conv(x, conv1, conv2, 5) != temporal_conv(changed, conv1, conv2, 5)).any(-1).view(2, 5, 4)
    assert not moved[0].any()
    assert moved[1, :, 3].all()  # two convolutions reach two frames away
    assert not moved[1, :, :3].any()


@torch.no_grad()
def test_beside_text_both_act_on_the_video_alone(cogvideox: CogVideoXBackbone) -> None:
    """What CogVideoX's joint attention sees and gives: the text's part stays, the video's changes as the tables say."""
    block = cogvideox.blocks[1]
    generator = torch.Generator().manual_seed(3)
    hidden, text = (torch.randn(1, count, 64, generator=generator) for count in (TOKENS, 16))
    seen: dict[str, Tensor] = {}
    taps = [
        getattr(block.attention, name).register_forward_hook(
            lambda _m, args, _out, name=name: seen.update({name: args[0]})
        )
        for name in ("to_q", "to_k", "to_v")
    ]
    plain = block.attention(hidden_states=hidden, encoder_hidden_states=text)
    before = dict(seen)
    tables = randomised(embeddings(cogvideox))
    with tables.installed(cogvideox.blocks):
        block.attention(hidden_states=hidden, encoder_hidden_states=text)
    added = {
        "query_key": tables.parameters["blocks.1.query_key"].expand(-1, 36, -1).reshape(1, TOKENS, 64),
        "value": tables.parameters["blocks.1.value"].reshape(1, TOKENS, 64),
    }
    for name, table in (("to_q", "query_key"), ("to_k", "query_key"), ("to_v", "value")):
        assert torch.equal(seen[name][:, :16], before[name][:, :16])
        torch.testing.assert_close(seen[name][:, 16:], before[name][:, 16:] + added[table])
    paths = randomised(convolutions(cogvideox))
    with paths.installed(cogvideox.blocks):
        video, words = block.attention(hidden_states=hidden, encoder_hidden_states=text)
    for tap in taps:
        tap.remove()
    weights = (paths.parameters[f"blocks.1.conv{n}"] for n in (1, 2))
    torch.testing.assert_close(video, plain[0] + temporal_conv(hidden, *weights, 5))
    assert torch.equal(words, plain[1])
