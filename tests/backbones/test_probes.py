"""Reading the residual stream, tapping a full pass, injected keys and values, and given rotary tables.

On both shapes of attention: of the video alone (Wan), and of text and video together (CogVideoX).
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.schedule import seeded_noise
from fastvmt.types import PassCounter

SIGMA = 0.7


@pytest.fixture(params=["wan", "cogvideox"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return request.getfixturevalue({"wan": "small_wan", "cogvideox": "cogvideox"}[request.param])


@pytest.fixture
def small_wan(loaded_backbone: Backbone) -> Backbone:
    loaded_backbone.passes = PassCounter()
    return loaded_backbone


@pytest.fixture
def latents(backbone: Backbone) -> Tensor:
    return seeded_noise(backbone.layout.latent_shape, 11, backbone.device)


def full(backbone: Backbone, x: Tensor, text: Tensor) -> Tensor:
    """All blocks, uncounted."""
    return backbone.forward(x, SIGMA, text)


@pytest.mark.parametrize("block", range(3))
def test_hidden_and_its_gradient_equal_a_hook_on_the_full_forward(
    backbone: Backbone, latents: Tensor, block: int
) -> None:
    text, kept, results = backbone.embed("a dog on grass"), [], []
    weights = torch.randn(5, 36, backbone.blocks[0].width, generator=torch.Generator().manual_seed(2))
    for read in (False, True):
        x = latents.clone().requires_grad_(True)
        if read:
            hidden = backbone.hidden(x, SIGMA, text, block)
        else:
            read_block = backbone.blocks[block]
            hook = read_block.module.register_forward_hook(
                lambda _m, _i, out, read_block=read_block: kept.append(read_block.hidden_of(out))
            )
            full(backbone, x, text)
            hook.remove()
            hidden = kept[0][0].unflatten(0, (5, 36))
        results.append((hidden.detach(), *torch.autograd.grad((hidden * weights).sum(), x)))
    torch.testing.assert_close(results[1], results[0])
    assert results[0][1].abs().max() > 1e-3
    assert (backbone.passes.block_forwards, backbone.passes.block_backwards) == (block + 1, block + 1)


@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("block", range(3))
def test_tapped_pass_is_the_full_pass_with_the_probes_gradient(
    backbone: Backbone, latents: Tensor, block: int, rope: bool
) -> None:
    text = backbone.embed("a dog on grass")
    x, y = (latents.clone().requires_grad_(True) for _ in range(2))
    velocity, q, k = backbone.tapped_velocity(x, SIGMA, text, block, rope)
    assert not velocity.requires_grad
    torch.testing.assert_close(velocity, full(backbone, latents, text))
    expected = backbone.query_key(y, SIGMA, text, block, rope)
    torch.testing.assert_close((q, k), expected)
    gradients = [
        torch.autograd.grad((a.sin() * b).sum(), z)[0] for (a, b), z in (((q, k), x), (expected, y))
    ]  # not a linear function of either
    torch.testing.assert_close(*gradients)
    assert backbone.passes.block_forwards == 3 + block
    assert (backbone.passes.block_backwards, backbone.passes.gradients) == (2 * block, 2)


def projections(backbone: Backbone, latents: Tensor, text: Tensor) -> dict[str, Tensor]:
    """What a full pass projects the tokens of block 0 to, text included."""
    seen: dict[str, Tensor] = {}
    attention = backbone.blocks[0].attention
    hooks = [
        getattr(attention, name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name in ("to_q", "to_k", "to_v")
    ]
    full(backbone, latents, text)
    for hook in hooks:
        hook.remove()
    return seen


def test_injected_keys_and_values_are_those_of_the_other_latents(backbone: Backbone, latents: Tensor) -> None:
    """Own keys and values change nothing; others' are what attention then uses for the video, its own for the text."""
    text = backbone.embed("a dog on grass")
    plain = backbone.velocity(latents, SIGMA, text)
    with backbone.keys_and_values_of(latents, SIGMA, text):
        torch.testing.assert_close(backbone.velocity(latents, SIGMA, text), plain)
    other = latents.flip(-1)
    caption = backbone.embed("a red car")
    own, expected = projections(backbone, latents, text), projections(backbone, other, caption)
    attention = backbone.blocks[0].attention
    count = len(attention.to_k._forward_hooks)
    with backbone.keys_and_values_of(other, SIGMA, caption):
        seen = projections(backbone, latents, text)
        changed = backbone.velocity(latents, SIGMA, text)
    torch.testing.assert_close(seen["to_q"], own["to_q"])
    for name in ("to_k", "to_v"):
        torch.testing.assert_close(seen[name][:, -180:], expected[name][:, -180:])
        torch.testing.assert_close(seen[name][:, :-180], own[name][:, :-180])
    assert (changed - plain).abs().max() > 1e-4
    assert len(attention.to_k._forward_hooks) == count
    assert torch.equal(backbone.velocity(latents, SIGMA, text), plain)


def test_injection_runs_no_block_and_has_no_gradient(backbone: Backbone, latents: Tensor) -> None:
    text, x = backbone.embed(""), latents.clone().requires_grad_(True)
    with backbone.keys_and_values_of(x, SIGMA, text):
        assert backbone.passes.block_forwards == 0
        velocity = backbone.velocity(latents, SIGMA, text)
    assert not velocity.requires_grad


def test_own_tables_change_nothing(backbone: Backbone, latents: Tensor) -> None:
    text, tables = backbone.embed("a dog on grass"), backbone.rotation()
    assert tables.shape == (4, 5 * 36, backbone.blocks[0].width // 4)  # two heads, a table entry for two channels
    plain = backbone.velocity(latents, SIGMA, text)
    with backbone.rotated_by(tables, SIGMA):
        torch.testing.assert_close(backbone.velocity(latents, SIGMA, text), plain)
        q, k = backbone.query_key(latents, SIGMA, text, 2, True)
    torch.testing.assert_close((q, k), backbone.query_key(latents, SIGMA, text, 2, True))
    assert torch.equal(backbone.velocity(latents, SIGMA, text), plain)


def test_tables_turn_queries_and_keys_apart(backbone: Backbone, latents: Tensor) -> None:
    """Against complex multiplication: query a + ib of a channel pair times cos + i sin of its table."""
    text = backbone.embed("a dog on grass")
    pairs = backbone.blocks[0].width // 4
    angles = torch.randn(2, 180, pairs, generator=torch.Generator().manual_seed(3))
    tables = torch.stack([angles[0].cos(), angles[0].sin(), angles[1].cos(), angles[1].sin()])
    plain = backbone.query_key(latents, SIGMA, text, 0, False)
    with backbone.rotated_by(tables, SIGMA):
        turned = backbone.query_key(latents, SIGMA, text, 0, True)
    for before, after, angle in zip(plain, turned, angles, strict=True):
        a = torch.view_as_complex(before.unflatten(-1, (pairs, 2)).contiguous())
        expected = a * torch.polar(torch.ones(180, pairs), angle).view(5, 36, 1, pairs)
        torch.testing.assert_close(after, torch.view_as_real(expected).flatten(-2))


def test_gradient_of_the_tables_is_the_difference_quotient(backbone: Backbone, latents: Tensor) -> None:
    text, start = backbone.embed("a dog on grass"), backbone.rotation()
    direction = torch.randn(start.shape, generator=torch.Generator().manual_seed(4))

    def value(tables: Tensor) -> Tensor:
        with backbone.rotated_by(tables, SIGMA):
            q, k = backbone.query_key(latents, SIGMA, text, 1, True)
        return (q.sin() * k).mean()

    tables = start.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(value(tables), tables)
    assert all(part.abs().max() > 0 for part in gradient)  # queries' and keys', cosines and sines
    step = 1e-2
    quotient = (value(start + step * direction) - value(start - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), quotient, rtol=2e-2, atol=1e-5)


def test_tables_are_learned_under_checkpointing_too(backbone: Backbone, latents: Tensor) -> None:
    """The blocks that run again during the backward pass still find their processors."""
    text, gradients = backbone.embed("a dog on grass"), []
    for checkpointing in (False, True):
        if checkpointing:
            backbone.transformer.enable_gradient_checkpointing()
        tables = backbone.rotation().requires_grad_(True)
        with backbone.rotated_by(tables.detach(), SIGMA):
            with backbone.rotated_by(tables, SIGMA):
                q, k = backbone.query_key(latents, SIGMA, text, 2, True)
            gradients.append(torch.autograd.grad((q.sin() * k).sum(), tables)[0])
    backbone.transformer.disable_gradient_checkpointing()
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("block", [-1, 3])
def test_blocks_that_do_not_exist_are_refused(backbone: Backbone, latents: Tensor, block: int) -> None:
    text = backbone.embed("")
    for call in (
        lambda: backbone.hidden(latents, SIGMA, text, block),
        lambda: backbone.tapped_velocity(latents, SIGMA, text, block, False),
        lambda: backbone.keys_and_values_of(latents, SIGMA, text, block).__enter__(),
    ):
        with pytest.raises(ValueError, match=rf"guidance\.block={block} does not exist: .* has blocks 0\.\.2"):
            call()
