"""The Wan backbone against diffusers: features, gradients, encoders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from torch import Tensor

from fastvmt.backbones.wan import WanBackbone
from fastvmt.engine.run import run
from fastvmt.methods.transfer import encode
from fastvmt.schedule import seeded_noise
from fastvmt.types import TransferCase, Video
from helpers.config import composed

SIGMA = 0.7
BLOCKS = range(3)
PROMPT = "a dog and a red balloon on grass"


@pytest.fixture
def latents(backbone: WanBackbone) -> Tensor:
    return seeded_noise(backbone.layout.latent_shape, 11, backbone.device)


def clip(backbone: WanBackbone, seed: int = 0) -> Video:
    shape = (backbone.layout.frames, backbone.layout.height, backbone.layout.width, 3)
    frames = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Video(frames, 8.0)


def attended(
    backbone: WanBackbone, x: Tensor, text: Tensor, block: int, rope: bool, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor]:
    """Queries and keys (F, S, N, D) of a full forward: from hooks, or as the attention kernel gets them."""
    transformer, kept = backbone.transformer, {}
    if rope:
        from diffusers.models.transformers import transformer_wan

        calls, dispatch = [], transformer_wan.dispatch_attention_fn

        def record(query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
            calls.append((query, key))
            return dispatch(query, key, value, **options)

        monkeypatch.setattr(transformer_wan, "dispatch_attention_fn", record)
        transformer(x, torch.tensor([1000.0 * SIGMA]), text, return_dict=False)
        monkeypatch.undo()
        kept["q"], kept["k"] = calls[2 * block]  # each block attends to itself, then to the text
    else:
        attn = transformer.blocks[block].attn1
        hooks = [
            module.register_forward_hook(lambda _m, _i, out, name=name: kept.update({name: out.unflatten(-1, (2, 24))}))
            for name, module in (("q", attn.norm_q), ("k", attn.norm_k))
        ]
        transformer(x, torch.tensor([1000.0 * SIGMA]), text, return_dict=False)
        for hook in hooks:
            hook.remove()
    frames = backbone.layout.grid[0]
    return kept["q"][0].unflatten(0, (frames, -1)), kept["k"][0].unflatten(0, (frames, -1))


@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("block", BLOCKS)
def test_query_key_and_gradients_equal_the_full_forward(
    backbone: WanBackbone, latents: Tensor, block: int, rope: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = backbone.embed(PROMPT)
    generator = torch.Generator().manual_seed(2)
    results = []
    for full in (True, False):
        x = latents.clone().requires_grad_(True)
        if full:
            q, k = attended(backbone, x, text, block, rope, monkeypatch)
        else:
            q, k = backbone.query_key(x, SIGMA, text, block, rope)
        generator.manual_seed(2)
        a, b = (torch.randn(q.shape, generator=generator) for _ in range(2))
        (gradient,) = torch.autograd.grad((q * a).sum() + (k * b).sum(), x)
        results.append((q.detach(), k.detach(), gradient))
    assert results[1][0].shape == (5, 36, 2, 24)
    assert results[1][2].abs().max() > 1e-3
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-5)


def test_rope_rotates_without_stretching(backbone: WanBackbone, latents: Tensor) -> None:
    text = backbone.embed(PROMPT)
    plain, _ = backbone.query_key(latents, SIGMA, text, 1, False)
    rotated, _ = backbone.query_key(latents, SIGMA, text, 1, True)
    torch.testing.assert_close(plain.norm(dim=-1), rotated.norm(dim=-1))
    torch.testing.assert_close(plain[0, 0], rotated[0, 0])  # position zero turns by nothing
    assert (plain[1:] - rotated[1:]).abs().amax((-1, -2)).min() > 1e-3


@pytest.mark.parametrize("reading", ["query_key", "tapped_velocity", "hidden"])
def test_checkpointing_changes_no_value_and_no_gradient(backbone: WanBackbone, latents: Tensor, reading: str) -> None:
    arguments = (SIGMA, backbone.embed(PROMPT), 2) if reading == "hidden" else (SIGMA, backbone.embed(PROMPT), 2, True)
    results = []
    for checkpointing in (False, True):
        if checkpointing:
            backbone.transformer.enable_gradient_checkpointing()
        try:
            x = latents.clone().requires_grad_(True)
            read = getattr(backbone, reading)(x, *arguments)
            values = read if isinstance(read, tuple) else (read,)
            loss = sum((value * value.detach().cos()).sum() for value in values if value.requires_grad)
            results.append([value.detach() for value in values] + [*torch.autograd.grad(loss, x)])
        finally:
            backbone.transformer.disable_gradient_checkpointing()
    torch.testing.assert_close(*results)
    assert results[0][-1].abs().max() > 0
    assert backbone.passes.gradients == 2


def hook_count(backbone: WanBackbone) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in backbone.transformer.modules())


def test_transformer_is_restored(backbone: WanBackbone, latents: Tensor) -> None:
    blocks, members, hooks = backbone.transformer.blocks, list(backbone.transformer.blocks), hook_count(backbone)
    text = backbone.embed(PROMPT)
    before = backbone.velocity(latents, SIGMA, text)
    backbone.query_key(latents, SIGMA, text, 1, False)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        backbone.query_key(latents, SIGMA, text[..., :-1], 1, False)
    stop = backbone.transformer.blocks[0].register_forward_hook(lambda *_: {}["stop"])
    for reading in (
        lambda: backbone.query_key(latents, SIGMA, text, 1, False),
        lambda: backbone.hidden(latents, SIGMA, text, 1),
    ):
        with pytest.raises(KeyError):
            reading()
    stop.remove()
    assert backbone.transformer.blocks is blocks
    assert all(a is b for a, b in zip(blocks, members, strict=True))
    assert hook_count(backbone) == hooks
    assert torch.equal(backbone.velocity(latents, SIGMA, text), before)


def test_weights_are_frozen(backbone: WanBackbone) -> None:
    for module in (backbone.transformer, backbone.text_encoder.load(), backbone.vae):
        assert not module.training
        assert not any(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_that_runs_is_counted(backbone: WanBackbone, latents: Tensor, block: int) -> None:
    """Checked against hooks that count the blocks' own calls."""
    text, ran = backbone.embed(PROMPT), []
    hooks = [b.register_forward_hook(lambda *_: ran.append(1)) for b in backbone.transformer.blocks]
    x = latents.clone().requires_grad_(True)
    q, k = backbone.query_key(x, SIGMA, text, block, False)
    (q.sum() + k.sum()).backward()
    assert backbone.passes.block_forwards == len(ran) == block
    assert (backbone.passes.block_backwards, backbone.passes.gradients) == (block, 1)
    backbone.query_key(latents, SIGMA, text, block, False)  # no gradient wanted, none counted
    backbone.velocity(latents, SIGMA, text)
    for hook in hooks:
        hook.remove()
    assert backbone.passes.block_forwards == len(ran) == 2 * block + 3
    assert backbone.passes.gradients == 1


@pytest.mark.parametrize("block", [-1, 3])
def test_a_block_that_does_not_exist_is_refused(backbone: WanBackbone, latents: Tensor, block: int) -> None:
    with pytest.raises(ValueError, match=rf"guidance\.block={block} does not exist: random_wan has blocks 0\.\.2"):
        backbone.query_key(latents, SIGMA, backbone.embed(""), block, False)


def test_encode_is_the_normalised_posterior_mean(backbone: WanBackbone, pipeline: WanPipeline) -> None:
    video = clip(backbone)
    pixels = pipeline.video_processor.preprocess_video(list(video.frames_THWC.numpy() / 255.0), height=48, width=48)
    with torch.no_grad():
        mode = pipeline.vae.encode(pixels.float()).latent_dist.mean
    mean, std = torch.tensor([0.3, -0.2, 0.1, 0.5]), torch.tensor([0.5, 2.0, 1.5, 0.8])
    expected = (mode - mean.view(1, -1, 1, 1, 1)) / std.view(1, -1, 1, 1, 1)
    actual = backbone.encode(video)
    assert actual.shape == backbone.layout.latent_shape == (1, 4, 5, 12, 12)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_decode_undoes_the_normalisation_and_returns_pixels(backbone: WanBackbone, latents: Tensor) -> None:
    pixels = backbone.decode(latents)
    assert pixels.shape == (9, 48, 48, 3)
    assert 0 <= float(pixels.min()) < float(pixels.max()) <= 1
    mean, std = torch.tensor([0.3, -0.2, 0.1, 0.5]), torch.tensor([0.5, 2.0, 1.5, 0.8])
    raw = latents * std.view(1, -1, 1, 1, 1) + mean.view(1, -1, 1, 1, 1)
    expected = (backbone.vae.decode(raw).sample[0].permute(1, 2, 3, 0) / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(pixels, expected)


def test_encode_refuses_clips_of_another_size(backbone: WanBackbone) -> None:
    with pytest.raises(ValueError, match=r"\(9, 48, 48\); got \(8, 48, 48\)"):
        backbone.encode(Video(torch.zeros(8, 48, 48, 3, dtype=torch.uint8), 8.0))


@pytest.mark.parametrize("prompt", ["", PROMPT, "a dog on grass " * 9])
def test_embed_is_the_encoder_output_padded_with_zeros(
    backbone: WanBackbone, pipeline: WanPipeline, prompt: str
) -> None:
    actual = backbone.embed(prompt)
    ids = pipeline.tokenizer(prompt, truncation=True, max_length=16, return_tensors="pt").input_ids
    with torch.no_grad():
        expected, _ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=16)
        hidden = pipeline.text_encoder(ids).last_hidden_state
    torch.testing.assert_close(actual, expected)
    assert actual.shape == (1, 16, 32)
    torch.testing.assert_close(actual[:, : ids.shape[1]], hidden, rtol=1e-4, atol=1e-5)
    assert not actual[:, ids.shape[1] :].any()
    assert actual[:, 0].any()


def test_unknown_words_are_named(backbone: WanBackbone) -> None:
    assert backbone.unknown_words("A dog, and a ball!") == []
    assert backbone.unknown_words("a zebra on grass near Mars") == ["zebra", "Mars"]
    assert backbone.unknown_words("") == []
    assert backbone.unknown_words("a собака on 12 grass -") == ["собака", "12"]


def test_a_named_negative_prompt_is_the_released_one(
    backbone: WanBackbone, case: TransferCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokeniser of tests knows none of its words, so that embeddings could not tell."""
    asked: list[str] = []

    def embed(prompt: str) -> Tensor:
        asked.append(prompt)
        return torch.zeros(1, 16, 32)

    monkeypatch.setattr(backbone, "embed", embed)
    encode(backbone, replace(case, negative_prompt="wan"))
    text = asked[-1]
    assert asked[:-1] == [case.prompt, ""]
    assert text.startswith("色调艳丽，过曝，静态") and text.endswith("倒着走") and text.count("，") == 27


def test_a_run_tells_the_number_format(random_wan: Path, tmp_path: Path) -> None:
    small = ["backbone.height=48", "backbone.width=48", "sampler.steps=1", "guidance.block=1", "metrics=none"]
    out = tmp_path / "out"
    words = [f"backbone.path={random_wan}", *small, "method=none", "logger=none", "cache_dir=null", f"output_dir={out}"]
    run(composed(*words))
    assert json.loads((out / "result.json").read_text())["backbone"]["dtype"] == "float32"


def test_a_format_that_stood_in_is_told_by_whatever_finds_the_videos(
    random_wan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["backbone.height=48", "backbone.width=48", "sampler.steps=1", "guidance.block=1", "metrics=none"]
    words = [f"backbone.path={random_wan}", *small, "method=none", "logger=none", f"cache_dir={tmp_path / 'cache'}"]
    monkeypatch.setattr("fastvmt.device.BFLOAT16", ())
    for place in ("made", "made", "found"):
        run(composed(*words, "backbone.dtype=bfloat16", "device=cpu", f"output_dir={tmp_path / place}"))
        assert json.loads((tmp_path / place / "result.json").read_text())["backbone"]["dtype"] == "float32"
