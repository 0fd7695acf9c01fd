"""Adapters against a block computed by hand, merged weights and diffusers; what they leave behind: nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fastvmt.backbones.wan import WanBackbone
from fastvmt.schedule import seeded_noise
from fastvmt.tuning.adapter import Adapter, blocks_of, width_of
from fastvmt.tuning.lora import ATTENTION, DOWN, FEED_FORWARD, PREFIX, UP, LoraSet
from fastvmt.tuning.motion_embedding import MotionEmbeddings, temporal_difference
from fastvmt.tuning.temporal_conv import Initial, TemporalConvolutions, temporal_conv

CPU = torch.device("cpu")
GRID, WIDTH, TOKENS = (5, 6, 6), 48, 180
Projected = Callable[[str, Tensor], Tensor]


def embeddings(pool: int = 1) -> MotionEmbeddings:
    return MotionEmbeddings.zeros([1, 2], GRID, WIDTH, pool, CPU)


def convolutions(initial: Initial = Initial.normal) -> TemporalConvolutions:
    return TemporalConvolutions.initial(3, 5, WIDTH, 16, initial, 0, CPU)


def lora(backbone: WanBackbone, targets: tuple[str, ...] = ATTENTION, drop: float = 0.0) -> LoraSet:
    return LoraSet.initial(blocks_of(backbone), targets, 4, 0, CPU, drop)


def randomised(adapter: Adapter, scale: float = 0.3) -> Adapter:
    """The adapter with every parameter normal, from a fixed seed."""
    generator = torch.Generator().manual_seed(7)
    for value in adapter.parameters.values():
        value.data = scale * torch.randn(value.shape, generator=generator)
    return adapter


def kinds(backbone: WanBackbone) -> list[Adapter]:
    whole = lora(backbone, ATTENTION + FEED_FORWARD, drop=0.5)
    return [embeddings(), embeddings(pool=4), convolutions(), convolutions(Initial.kaiming), lora(backbone), whole]


def velocity(backbone: WanBackbone) -> Tensor:
    with torch.no_grad():
        x = seeded_noise(backbone.layout.latent_shape, 1, backbone.device)
        return backbone.velocity(x, 0.7, backbone.embed("a dog on grass"))


def remains(backbone: WanBackbone) -> list[object]:
    """Everything of the transformer that an adapter could have touched."""
    transformer = backbone.transformer
    modules = [
        (
            name,
            id(module),
            type(module),
            module.training,
            sorted(vars(module)),
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            len(module._backward_hooks),
            len(module._forward_hooks_with_kwargs),
        )
        for name, module in transformer.named_modules()
    ]
    weights = [(name, id(p), p.requires_grad, p.grad is None, p._version) for name, p in transformer.named_parameters()]
    return [modules, weights]


def test_fresh_adapters_change_no_bit(backbone: WanBackbone) -> None:
    plain = velocity(backbone)
    for adapter in kinds(backbone):
        with adapter.installed(blocks_of(backbone)):
            assert torch.equal(velocity(backbone), plain)


def test_adapters_act_while_installed_and_leave_nothing(backbone: WanBackbone) -> None:
    plain, before = velocity(backbone), remains(backbone)
    for adapter in kinds(backbone):
        with randomised(adapter).installed(blocks_of(backbone)):
            assert not torch.equal(velocity(backbone), plain)
            assert remains(backbone) != before
        with pytest.raises(KeyboardInterrupt), adapter.installed(blocks_of(backbone)):
            raise KeyboardInterrupt
        assert remains(backbone) == before
        assert torch.equal(velocity(backbone), plain)


def test_a_change_that_fails_takes_the_earlier_ones_along(backbone: WanBackbone) -> None:
    before, adapter = remains(backbone), lora(backbone)
    adapter.layers["2.attn1.missing"] = nn.Identity()
    with pytest.raises(AttributeError), adapter.installed(blocks_of(backbone)):
        pass
    assert remains(backbone) == before


def test_what_cannot_be_tuned_says_so(backbone: WanBackbone) -> None:
    assert width_of(blocks_of(backbone)) == WIDTH
    other = copy.copy(backbone)
    other.transformer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"random_wan has no transformer\.blocks"):
        blocks_of(other)


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
    adapter, blocks = randomised(embeddings(), 1.0), blocks_of(backbone)
    attn, table, value = blocks[1].attn1, *(adapter.parameters[f"blocks.1.{n}"] for n in ("query_key", "value"))
    both, alone = table.repeat_interleave(36, 0).view(1, TOKENS, WIDTH), value.reshape(1, TOKENS, WIDTH)

    def projected(name: str, n: Tensor) -> Tensor:
        return {"q": attn.to_q, "k": attn.to_k, "v": attn.to_v}[name](n + (alone if name == "v" else both))

    x, text, temb, rotary = block_inputs()
    with adapter.installed(blocks):
        actual = blocks[1](x, text, temb, rotary)
    expected = block_by_hand(blocks[1], projected, torch.zeros_like)
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=2e-5)
    assert not torch.allclose(blocks[1](x, text, temb, rotary), expected, atol=1e-2)


@torch.no_grad()
def test_without_a_value_table_values_stay(backbone: WanBackbone) -> None:
    block = blocks_of(backbone)[1]
    seen: dict[str, Tensor] = {}
    taps = [
        layer.register_forward_hook(lambda m, a, out, name=name: seen.update({name: out}))
        for name, layer in (("q", block.attn1.to_q), ("k", block.attn1.to_k), ("v", block.attn1.to_v))
    ]
    full = randomised(embeddings())
    adapter = MotionEmbeddings({n: t for n, t in full.tensors().items() if n.endswith("query_key")}, GRID, CPU)
    block(*block_inputs())
    plain = dict(seen)
    with adapter.installed(blocks_of(backbone)):
        block(*block_inputs())
    for tap in taps:
        tap.remove()
    assert [torch.equal(seen[name], plain[name]) for name in "qkv"] == [False, False, True]


def test_a_coarse_value_table_is_enlarged() -> None:
    adapter = embeddings(pool=4)
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
    adapter, blocks = randomised(convolutions(), 0.2), blocks_of(backbone)
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
    with adapter.installed(blocks):
        actual = blocks[1](x, text, temb, rotary)
    torch.testing.assert_close(actual, block_by_hand(blocks[1], projected, beside), atol=2e-4, rtol=2e-4)


def test_first_convolution_has_the_spread_it_says() -> None:
    for initial, expected in ((Initial.normal, 1.0), (Initial.kaiming, math.sqrt(2 / (3 * WIDTH)))):
        adapter = convolutions(initial)
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


def merged(backbone: WanBackbone, adapters: list[LoraSet]) -> WanBackbone:
    """A backbone with W + up down in place of W."""
    other = copy.copy(backbone)
    other.transformer = copy.deepcopy(backbone.transformer)
    for adapter in adapters:
        for name, down in adapter.tensors().items():
            if name.endswith(DOWN):
                stem = name.removesuffix(DOWN)
                layer = other.transformer.get_submodule(stem.removeprefix("transformer."))
                layer.weight.data += adapter.tensors()[stem + UP] @ down
    return other


def test_lora_equals_merged_weights(backbone: WanBackbone) -> None:
    one, two = randomised(lora(backbone, ATTENTION + FEED_FORWARD)), randomised(lora(backbone), 0.2)
    assert isinstance(one, LoraSet) and isinstance(two, LoraSet)
    assert len(one.parameters) == 3 * 6 * 2
    blocks = blocks_of(backbone)
    first, second = velocity(merged(backbone, [one])), velocity(merged(backbone, [one, two]))
    with one.installed(blocks):
        torch.testing.assert_close(velocity(backbone), first, atol=1e-4, rtol=1e-4)
        with two.installed(blocks):  # both sets act together
            torch.testing.assert_close(velocity(backbone), second, atol=1e-4, rtol=1e-4)


def one_layer(inputs: int, outputs: int) -> nn.ModuleList:
    """A stack of one block with one linear layer."""
    return nn.ModuleList([nn.ModuleDict({"attn1": nn.ModuleDict({"to_q": nn.Linear(inputs, outputs)})})])


def test_lora_starts_as_the_original() -> None:
    torch.manual_seed(0)
    layers, state = one_layer(400, 30), torch.get_rng_state()
    adapter = LoraSet.initial(layers, ("attn1.to_q",), 8, 0, CPU, 0.0)
    down, up = adapter.tensors().values()
    assert float(down.std()) == pytest.approx(1 / 8, rel=0.05)
    assert down.shape == (8, 400) and up.shape == (30, 8) and not up.any()
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_takes_parts_of_the_input_and_scales_the_rest() -> None:
    layers, x = one_layer(4000, 4000), torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    name, linear = f"{PREFIX}0.attn1.to_q", layers.get_submodule("0.attn1.to_q")
    adapter = LoraSet({name + DOWN: torch.eye(4000), name + UP: torch.eye(4000)}, layers, CPU, drop=0.25)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), adapter.installed(layers):
        torch.manual_seed(0)
        update = layers.get_submodule("0.attn1.to_q")(x) - linear(x)
    gone = update.abs() < 1e-5
    assert float(gone.float().mean()) == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(update[~gone], x[~gone] / 0.75, atol=1e-4, rtol=1e-3)


def test_diffusers_reads_the_artefact(backbone: WanBackbone) -> None:
    adapter, other = randomised(lora(backbone, ATTENTION + FEED_FORWARD)), copy.copy(backbone)
    other.transformer = copy.deepcopy(backbone.transformer)
    other.transformer.load_lora_adapter(adapter.tensors(), prefix="transformer")
    with adapter.installed(blocks_of(backbone)):
        torch.testing.assert_close(velocity(backbone), velocity(other), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("targets", "error"), [(("attn1.missing",), AttributeError), (("ffn",), ValueError)])
def test_layers_that_cannot_be_adapted_change_nothing(
    backbone: WanBackbone, targets: tuple[str, ...], error: type[Exception]
) -> None:
    before, fresh = remains(backbone), lora(backbone)
    name = f"{PREFIX}2.{targets[0]}"
    parameters = fresh.tensors() | {name + DOWN: torch.zeros(4, WIDTH), name + UP: torch.zeros(WIDTH, 4)}
    with pytest.raises(error):
        LoraSet(parameters, blocks_of(backbone), CPU)
    assert remains(backbone) == before
