"""Train the text encoder and the transformer of tiny-wan: ``python -m experiments.tiny_wan.dit``.

Flow matching on cached latents: single frames first (objects get sharp there, at a fifth of the
cost), then clips with single frames mixed in. ``experiments.tiny_wan.export`` packs the result.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.models.transformers import transformer_wan
from omegaconf import DictConfig, OmegaConf
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from experiments import command_line
from experiments.tiny_wan.captions import sample_caption
from experiments.tiny_wan.clips import drawn_scenes, rendered, to_model
from experiments.tiny_wan.matches import match_loss, points_of
from experiments.tiny_wan.parts import Parts, PartsHead, parts
from experiments.tiny_wan.text import MAX_TOKENS, build_text_encoder, build_tokenizer
from experiments.tiny_wan.training import Optimizers, Training, keep_freed_pages
from experiments.tiny_wan.vae import ParallelVAE
from fastvmt.backbones.wan import WanBlock
from fastvmt.cache import content_key
from fastvmt.versions import main_options
from fastvmt.world.scene import Scene


class Reading(NamedTuple):
    """What one forward gives to the losses."""

    v: Tensor
    hidden: Tensor
    """(B, N, C) after the block that tells the parts."""
    q: Tensor
    """(B, N, C) of the block that finds matches, before the rotary embedding."""
    k: Tensor


class TextToVideo(nn.Module):
    """Text encoder and transformer, trained together."""

    def __init__(self, cfg: DictConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder: UMT5EncoderModel = build_text_encoder(cfg.text.width, cfg.text.layers, len(tokenizer))
        self.transformer = WanTransformer3DModel(**OmegaConf.to_container(cfg.model), text_dim=cfg.text.width)
        nn.init.zeros_(self.transformer.proj_out.weight)
        nn.init.zeros_(self.transformer.proj_out.bias)
        self.parts = PartsHead(cfg.model.num_attention_heads * cfg.model.attention_head_dim)
        self.parts_block = cfg.parts_block
        self.match_block = cfg.match_block

    def start_from(self, folder: Path) -> None:
        """Take the weights of a packed model."""
        self.transformer.load_state_dict(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors"))
        encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        self.text_encoder.load_state_dict(encoder.state_dict())

    def embed(self, captions: list[str]) -> Tensor:
        """(B, MAX_TOKENS, C), zero behind each caption's end, as ``WanPipeline`` does it."""
        tokens = self.tokenizer(
            captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self.text_encoder.device)
        hidden = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return hidden * tokens.attention_mask[..., None]

    def forward(self, x: Tensor, sigma: Tensor, captions: list[str]) -> Reading:
        """Predicted velocity, and what the auxiliary losses read."""
        read: dict[str, Any] = {}
        parts = self.transformer.blocks[self.parts_block]
        match = WanBlock(self.transformer.blocks[self.match_block], f"blocks.{self.match_block}")
        with ExitStack() as hooks:
            hooks.enter_context(parts.register_forward_hook(lambda module, args, out: read.update(hidden=out)))
            hooks.enter_context(
                match.module.register_forward_pre_hook(lambda module, args: read.update(called=match.called(*args)))
            )
            v = self.transformer(x, 1000.0 * sigma, self.embed(captions), return_dict=False)[0]
        seen = match.attention_input(read["called"])
        return Reading(v, read["hidden"], match.queries(seen).flatten(2), match.keys(seen).flatten(2))


def sample_sigmas(batch: int, shift: float, uniform: float, generator: torch.Generator) -> Tensor:
    """Shifted logit-normal noise levels, a fraction ``uniform`` of them uniform in [0, 1]."""
    s = torch.sigmoid(torch.randn(batch, generator=generator))
    s = torch.where(torch.rand(batch, generator=generator) < uniform, torch.rand(batch, generator=generator), s)
    return shift * s / (1 + (shift - 1) * s)


@dataclass(frozen=True)
class Pool:
    """What a batch is drawn from: normalised latents (N, C, F, H, W) in 16 bit, with scenes and labels."""

    latents: Tensor
    scenes: list[Scene]
    parts: Parts
    points: Tensor
    """(N, F, S, 3): which point each token shows."""


def labelled(latents: Tensor, scenes: list[Scene]) -> Pool:
    """The pool with its labels on the token grid."""
    side = latents.shape[-1] // 2
    points = np.stack([points_of(scene, side) for scene in scenes])
    return Pool(latents, scenes, parts(scenes, side), torch.from_numpy(points).flatten(2, 3))


@torch.no_grad()
def latent_pool(cfg: DictConfig, count: int, frames: int, seed: int) -> Pool:
    """Render and encode ``count`` clips; the latents are kept in a file of the pool's own."""
    weights = next((Path(cfg.folder) / "vae").glob("*.safetensors")).read_bytes()
    shares = None if cfg.shares is None else list(cfg.shares)
    scenes = drawn_scenes(count, frames, seed, shares=shares)
    key = content_key(count=count, frames=frames, seed=seed, size=cfg.size, shares=shares, vae=weights)
    file = Path(cfg.folder) / f"latents-{key[:12]}.safetensors"
    if file.exists():
        return labelled(load_file(file)["latents"], scenes)
    vae = AutoencoderKLWan.from_pretrained(Path(cfg.folder) / "vae").to(cfg.device)
    parallel = ParallelVAE(vae)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    latents = []
    for part in track(rendered(scenes, cfg.size).split(64 if frames == 1 else 8), description="encoding"):
        with torch.autocast(cfg.device, torch.bfloat16):
            z, _ = parallel.encode(to_model(part).to(cfg.device))
        latents.append(((z.float().cpu() - mean) / std).half())
    pool = torch.cat(latents).contiguous()
    save_file({"latents": pool}, file)
    return labelled(pool, scenes)


def windowed(x0: Tensor, labels: Parts, side: int, generator: torch.Generator) -> tuple[Tensor, Parts]:
    """A random window of ``side`` x ``side`` tokens, the same for the whole batch."""
    top, left = torch.randint(labels.kind.shape[-1] - side + 1, (2,), generator=generator).tolist()
    rows, columns = slice(2 * top, 2 * (top + side)), slice(2 * left, 2 * (left + side))
    return x0[..., rows, columns], labels.window(top, left, side)


def loss_of(
    model: TextToVideo, pool: Pool, cfg: DictConfig, *, batch: int, shift: float, side: int, help: float, seed: int
) -> Tensor:
    """Flow-matching loss of one random batch of windows of ``side`` tokens.

    ``help`` in [0, 1] scales what only speeds learning up: the weight of object tokens (fading with
    the noise, where it would bias what is generated) and the losses of parts and matches.
    """
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    index = torch.randint(len(pool.latents), (batch,), generator=generator)
    captions = []
    for i in index.tolist():
        scene = pool.scenes[i]
        words = sample_caption(rng, list(scene.objects), scene.background)
        captions.append("" if rng.random() < cfg.caption_dropout else words)
    x0, labels = windowed(pool.latents[index].float(), pool.parts[index], side, generator)
    noise = torch.randn(x0.shape, generator=generator)
    sigma = sample_sigmas(batch, shift, cfg.uniform_sigmas, generator)
    x = torch.lerp(x0, noise, sigma.view(-1, 1, 1, 1, 1))
    with torch.autocast(cfg.device, torch.bfloat16):
        read = model(x.to(cfg.device), sigma.to(cfg.device), captions)
    on_object = (labels.kind > 0).float().repeat_interleave(2, -1).repeat_interleave(2, -2)[:, None]
    weight = 1 + help * cfg.object_weight * (1 - sigma).view(-1, 1, 1, 1, 1) * on_object
    flow = (weight.to(cfg.device) * (read.v.float() - (noise - x0).to(cfg.device)).square()).mean() / weight.mean()
    aids = cfg.parts_weight * model.parts(read.hidden, labels.to(cfg.device))
    if x0.shape[2] > 1 and cfg.match_weight > 0:
        scale = cfg.match_tau * cfg.model.attention_head_dim**-0.5 / cfg.model.num_attention_heads
        points = pool.points[index].float().to(cfg.device)
        aids = aids + cfg.match_weight * match_loss(read.q, read.k, scale, points)
    return flow + help * aids


def build(cfg: DictConfig) -> tuple[TextToVideo, Training]:
    """The model and its (resumed) training."""
    torch.manual_seed(cfg.seed)
    model = TextToVideo(cfg, build_tokenizer()).to(cfg.device)
    if cfg.init is not None:
        model.start_from(Path(cfg.init))
    adam = ("patch_embedding", "proj_out", "condition_embedder", "scale_shift_table", "text_encoder", "parts")
    optimizers = Optimizers(cfg.muon_lr, cfg.adam_lr, model, adam, cfg.weight_decay)
    training = Training(model, optimizers, Path(cfg.folder) / cfg.name, steps=cfg.steps, ema=cfg.ema)
    return model, training


def matmul_attention(query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
    """Attention (B, tokens, heads, C) by two matrix products: on CPU the fused kernel's backward is far slower."""
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return (logits.float().softmax(-1).type_as(v) @ v).transpose(1, 2)


@hydra.main(**main_options(), config_path="conf", config_name="dit")
def main(cfg: DictConfig) -> None:
    keep_freed_pages()
    if cfg.device == "cpu":
        transformer_wan.dispatch_attention_fn = matmul_attention
    model, training = build(cfg)
    if cfg.compile:
        for block in model.transformer.blocks:  # not block.compile(): hooks stay outside
            block.forward = torch.compile(block.forward, dynamic=False)
    frames = latent_pool(cfg, cfg.pool_frames, 1, cfg.seed + 1)
    clips = latent_pool(cfg, cfg.pool_clips, cfg.frames, cfg.seed + 2)
    tokens = cfg.size // 8
    for step in training.steps():
        help = training.lr_scale() if training.progress > 0.5 else 1.0
        common = {"cfg": cfg, "help": help, "seed": cfg.seed + step}
        is_clip = training.progress > cfg.clips_from and step % cfg.frame_every != 0
        if is_clip:
            loss = loss_of(model, clips, batch=cfg.clip_batch, shift=cfg.clip_shift, side=tokens, **common)
        elif training.progress < cfg.windows_until and step % 4 != 0:
            loss = loss_of(model, frames, batch=cfg.window_batch, shift=cfg.frame_shift, side=cfg.window, **common)
        else:
            loss = loss_of(model, frames, batch=cfg.frame_batch, shift=cfg.frame_shift, side=tokens, **common)
        training.update(loss, clip=float(is_clip))


if __name__ == "__main__":
    command_line.run(main)
