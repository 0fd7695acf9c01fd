"""CogVideoX as a flow, against diffusers' own pipeline, scheduler and blocks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXPipeline
from diffusers.models import attention_processor
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fastvmt.backbones.cogvideox import CogVideoXBackbone
from fastvmt.config import config_folder
from fastvmt.cost.flops import block_forward, linear
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.types import TransferCase, Video
from helpers.random_models import SMALL
from helpers.velocities import guided_velocity

PROMPT = "a dog on grass"
NEGATIVE = "a red car on sand"
MODELS = ("cogvideox", "cogvideox_2b")


@pytest.fixture(params=MODELS)
def backbone(request: pytest.FixtureRequest) -> CogVideoXBackbone:
    return request.getfixturevalue(request.param)


@pytest.fixture
def stock(backbone: CogVideoXBackbone) -> CogVideoXPipeline:
    """diffusers' own pipeline on the same weights, loaded apart from the backbone's."""
    pipeline = CogVideoXPipeline.from_pretrained(backbone.folder, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def noise(backbone: CogVideoXBackbone) -> Tensor:
    return seeded_noise(backbone.layout.latent_shape, 3, backbone.device)


def scheduler_of(backbone: CogVideoXBackbone) -> CogVideoXDDIMScheduler:
    return CogVideoXDDIMScheduler.from_pretrained(backbone.folder / "scheduler")


@torch.no_grad()
@pytest.mark.parametrize(("steps", "scale"), [(4, 6.0), (10, 6.0), (4, 1.0)])
def test_euler_steps_of_the_flow_are_the_pipelines_ddim_steps(
    backbone: CogVideoXBackbone, stock: CogVideoXPipeline, noise: Tensor, steps: int, scale: float
) -> None:
    expected = stock(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        height=48,
        width=48,
        num_frames=9,
        num_inference_steps=steps,
        guidance_scale=scale,
        latents=noise.transpose(1, 2),
        output_type="latent",
        max_sequence_length=16,
    ).frames.transpose(1, 2)
    text = backbone.embed(PROMPT)
    negative = backbone.embed(NEGATIVE)
    x, sigmas = noise, backbone.sigmas(steps, 1.0)
    for sigma, sigma_next in zip(sigmas[:-1], sigmas[1:], strict=True):
        x = x + (sigma_next - sigma) * guided_velocity(backbone, x, sigma, text, negative, scale)
    torch.testing.assert_close(x, expected, atol=1e-4, rtol=0)
    assert (x - noise).abs().mean() > 0.1


def test_noise_levels_are_the_schedulers(backbone: CogVideoXBackbone) -> None:
    scheduler = scheduler_of(backbone)
    for steps in (4, 7, 50):
        scheduler.set_timesteps(steps)
        alphas = scheduler.alphas_cumprod[scheduler.timesteps].double()
        expected = (1 - alphas).sqrt() / (alphas.sqrt() + (1 - alphas).sqrt())
        sigmas = backbone.sigmas(steps, 1.0)
        assert sigmas == pytest.approx([*expected.tolist(), 0.0], abs=1e-12)
        assert [backbone.timestep(sigma) for sigma in sigmas[:-1]] == scheduler.timesteps.tolist()
        assert sigmas[0] == 1.0


def test_a_weaker_start_and_a_shift(backbone: CogVideoXBackbone) -> None:
    weaker = backbone.sigmas(4, 1.0, 0.5)
    assert [backbone.timestep(sigma) for sigma in weaker[:-1]] == [499, 374, 249, 124]
    for own, shifted in zip(backbone.sigmas(4, 1.0, 0.8)[:-1], backbone.sigmas(4, 3.0, 0.8)[:-1], strict=True):
        ratio = ((1 - own) / own) ** 2 / ((1 - shifted) / shifted) ** 2  # of signal to noise, squared
        assert ratio == pytest.approx(9.0)
    with pytest.raises(ValueError, match=r"^sampler\.steps=101 must be at most 100 for .* sampler\.strength=0\.1"):
        backbone.sigmas(101, 1.0, 0.1)
    assert len(set(backbone.sigmas(100, 1.0, 0.1))) == 101


def test_between_its_levels_the_timestep_is_linear_and_beyond_them_the_last(backbone: CogVideoXBackbone) -> None:
    levels = backbone.noise_levels
    assert backbone.timestep(float(0.75 * levels[400] + 0.25 * levels[401])) == pytest.approx(400.25)
    assert (backbone.timestep(0.0), backbone.timestep(float(levels[0]) / 2), backbone.timestep(1.0)) == (0, 0, 999)


@pytest.mark.parametrize("timestep", [0, 400, 999])
def test_an_exact_prediction_is_the_exact_velocity(
    backbone: CogVideoXBackbone, noise: Tensor, timestep: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the scheduler's own target as the transformer's output, at the sample that its own noising makes."""
    scheduler, clean = scheduler_of(backbone), noise.flip(-1)
    time = torch.tensor([timestep])

    def predict(hidden_states: Tensor, text: Tensor, given: Tensor, **_: object) -> tuple[Tensor]:
        assert given.tolist() == pytest.approx([timestep])
        expected = scheduler.add_noise(clean.transpose(1, 2), noise.transpose(1, 2), time)
        torch.testing.assert_close(hidden_states, expected, atol=1e-5, rtol=1e-5)
        return (scheduler.get_velocity(clean, noise, time).transpose(1, 2),)

    monkeypatch.setattr(backbone.transformer, "forward", predict)
    sigma = float(backbone.noise_levels[timestep])
    velocity = backbone.velocity(add_noise(clean, noise, sigma), sigma, backbone.embed(""))
    torch.testing.assert_close(velocity, noise - clean, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_text_and_pixels_are_the_pipelines(
    backbone: CogVideoXBackbone, stock: CogVideoXPipeline, noise: Tensor, case: TransferCase
) -> None:
    for prompt in ("", PROMPT):
        expected, _ = stock.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=16)
        torch.testing.assert_close(backbone.embed(prompt), expected)
    pixels = stock.video_processor.postprocess_video(stock.decode_latents(noise.transpose(1, 2)), output_type="pt")[0]
    decoded = backbone.decode(noise)
    assert decoded.shape == (9, 48, 48, 3)
    torch.testing.assert_close(decoded, pixels.permute(0, 2, 3, 1), atol=1e-5, rtol=1e-5)
    frames = case.reference.frames_THWC
    given = stock.video_processor.preprocess_video(list(frames.numpy() / 255.0), height=48, width=48)
    mode = stock.vae.encode(given.float()).latent_dist.mode()
    latents = backbone.encode(case.reference)
    assert latents.shape == backbone.layout.latent_shape == (1, 4, 5, 12, 12)
    torch.testing.assert_close(latents, 0.7 * mode, atol=1e-5, rtol=1e-4)
    assert backbone.encode(Video(frames[:1], 8.0)).shape == (1, 4, 1, 12, 12)


def attended(backbone: CogVideoXBackbone, x: Tensor, text: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Queries and keys (B, N, tokens, D) as the attention kernel gets them in a full pass at sigma = 0.7."""
    kernel: Callable[..., Tensor] = torch.nn.functional.scaled_dot_product_attention
    kept = []

    def record(query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
        kept.append((query.clone(), key.clone()))
        return kernel(query, key, value, **options)

    monkeypatch.setattr(attention_processor.F, "scaled_dot_product_attention", record)
    backbone.forward(x, 0.7, text)
    monkeypatch.undo()
    return kept


@pytest.mark.parametrize("block", range(3))
def test_queries_keys_and_gradients_are_those_of_the_video_in_the_attention(
    backbone: CogVideoXBackbone, noise: Tensor, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, results = backbone.embed(PROMPT), []
    for whole in (True, False):
        x = noise.clone().requires_grad_(True)
        if whole:
            given = attended(backbone, x, text, monkeypatch)[block]
            q, k = (each[0, :, 16:].transpose(0, 1).unflatten(0, (5, 36)) for each in given)
        else:
            q, k = backbone.query_key(x, 0.7, text, block, backbone.layout.rotary)
        a, b = (seeded_noise(tuple(q.shape), seed, q.device) for seed in (1, 2))
        results.append((q.detach(), k.detach(), torch.autograd.grad((q * a + k * b).sum(), x)[0]))
    assert results[1][0].shape == (5, 36, 2, 32)
    torch.testing.assert_close(results[1], results[0], atol=1e-5, rtol=1e-5)
    assert results[1][2].abs().max() > 1e-3
    assert (backbone.passes.block_forwards, backbone.passes.block_backwards) == (block, block)


@pytest.mark.parametrize("reading", ["query_key", "tapped_velocity", "hidden"])
def test_checkpointing_changes_no_value_and_no_gradient(
    backbone: CogVideoXBackbone, noise: Tensor, reading: str
) -> None:
    arguments = (0.7, backbone.embed(PROMPT), 2) + (() if reading == "hidden" else (False,))
    results = []
    for checkpointing in (False, True):
        if checkpointing:
            backbone.transformer.enable_gradient_checkpointing()
        try:
            x = noise.clone().requires_grad_(True)
            read = getattr(backbone, reading)(x, *arguments)
            values = read if isinstance(read, tuple) else (read,)
            loss = sum((value * value.detach().cos()).sum() for value in values if value.requires_grad)
            results.append([value.detach() for value in values] + [*torch.autograd.grad(loss, x)])
        finally:
            backbone.transformer.disable_gradient_checkpointing()
    torch.testing.assert_close(*results)
    assert results[0][-1].abs().max() > 0


def test_half_precision_gives_float32_velocities_near_the_full_ones(random_cogvideox: Path, cogvideox, case) -> None:
    half = CogVideoXBackbone(str(random_cogvideox), name="half", **SMALL | {"dtype": "bfloat16"})
    noise = seeded_noise(half.layout.latent_shape, 3, half.device)
    for sigma in (0.0, 0.3, 1.0):
        rough = half.velocity(noise, sigma, half.embed(PROMPT))
        full = cogvideox.velocity(noise, sigma, cogvideox.embed(PROMPT))
        assert rough.dtype == torch.float32
        assert (rough - full).norm() < 0.05 * full.norm()


def test_a_model_without_a_rotary_embedding_refuses_to_rotate(cogvideox_2b: CogVideoXBackbone) -> None:
    noise, text = seeded_noise(cogvideox_2b.layout.latent_shape, 3, cogvideox_2b.device), cogvideox_2b.embed("")
    with pytest.raises(ValueError, match=r"guidance\.rope=true needs a rotary embedding"):
        cogvideox_2b.query_key(noise, 0.7, text, 1, True)
    with pytest.raises(ValueError, match=r"guidance\.rope=true needs a rotary embedding"):
        cogvideox_2b.tapped_velocity(noise, 0.7, text, 1, True)
    with pytest.raises(ValueError, match=r"method\.target=embedding needs a rotary embedding"):
        cogvideox_2b.rotation()
    with pytest.raises(ValueError, match=r"method\.target=embedding needs"), cogvideox_2b.rotated_by(noise, 1.0):
        pass
    processors = {type(block.attention.processor).__name__ for block in cogvideox_2b.blocks}
    assert processors == {"CogVideoXAttnProcessor2_0"}


def test_positions_in_one_table_fix_the_length_of_the_text(random_cogvideox_2b: Path, random_cogvideox: Path) -> None:
    size = {"name": "x", "frames": 9, "height": 48, "width": 48}
    with pytest.raises(ValueError, match=r"backbone\.max_tokens=8 must be 16 .* set backbone\.max_tokens=16"):
        CogVideoXBackbone.layout_of(str(random_cogvideox_2b), max_tokens=8, **size)
    assert CogVideoXBackbone.layout_of(str(random_cogvideox), max_tokens=8, **size).rotary


@pytest.mark.parametrize(("option", "heads", "depth"), [("cogvideox_2b", 30, 30), ("cogvideox_5b", 48, 42)])
def test_the_released_models_have_their_papers_shapes(
    option: str, heads: int, depth: int, random_cogvideox: Path, tmp_path: Path
) -> None:
    """On the fields of the released configurations; text and video make 17,776 tokens."""
    released = {
        "transformer/config.json": {
            "num_attention_heads": heads,
            "attention_head_dim": 64,
            "num_layers": depth,
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": 2,
            "max_text_seq_length": 226,
            "use_rotary_positional_embeddings": option == "cogvideox_5b",
        },
        "vae/config.json": {
            "block_out_channels": [128, 256, 256, 512],
            "latent_channels": 16,
            "temporal_compression_ratio": 4,
        },
    }
    for source in (
        file for file in random_cogvideox.rglob("*.json") if "index" not in file.name or file.parent == random_cogvideox
    ):
        target = tmp_path / source.relative_to(random_cogvideox)
        target.parent.mkdir(exist_ok=True)
        content = json.loads(source.read_text()) | released.get(str(source.relative_to(random_cogvideox)), {})
        target.write_text(json.dumps(content))
    cfg = OmegaConf.load(config_folder() / "backbone" / "cogvideox_5b.yaml")
    if option != "cogvideox_5b":
        cfg = OmegaConf.merge(cfg, OmegaConf.load(config_folder() / "backbone" / f"{option}.yaml"))
    size = {key: cfg[key] for key in ("name", "frames", "height", "width", "fps", "max_tokens")}
    layout = CogVideoXBackbone.layout_of(str(tmp_path), **size)
    assert layout.latent_shape == (1, 16, 13, 60, 90)
    assert (layout.grid, layout.depth, layout.rotary) == ((13, 30, 45), depth, option == "cogvideox_5b")
    assert math.prod(layout.grid) + cfg.max_tokens == 17776
    block = layout.block
    assert block is not None
    assert (block.width, block.ffn, block.text_tokens, block.joint) == (64 * heads, 256 * heads, 226, True)


def test_flops_of_a_block_equal_torchs_count(cogvideox: CogVideoXBackbone) -> None:
    shape, tokens = cogvideox.layout.block, 180
    generator = torch.Generator().manual_seed(0)
    hidden, text = (torch.randn(1, count, 64, generator=generator) for count in (tokens, 16))
    time = torch.randn(1, 32, generator=generator)
    modulation = 2 * 2 * 32 * 6 * 64  # of one vector, by two linear maps: not a matter of tokens
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        hidden.requires_grad_(True)
        text.requires_grad_(True)
        out, other = cogvideox.blocks[0].module(hidden, text, time, cogvideox.rotary())
    with FlopCounterMode(display=False) as backward:
        (out.sum() + other.sum()).backward()
    assert shape is not None
    assert forward.get_total_flops() - modulation == block_forward(shape, tokens)
    unfused = 2 * 4 * (tokens + 16) ** 2 * 64  # two products per product of attention
    assert backward.get_total_flops() == linear(shape, tokens) + unfused
