"""Train the text encoder and the transformer of tiny-wan: ``python -m experiments.tiny_wan.dit``.

Flow matching on cached latents: single frames first (objects get sharp there, at a fifth of the
cost), then clips with single frames mixed in. ``experiments.tiny_wan.export`` packs the result.
"""

from __future__ import annotations

from pathlib import Path

import hydra
import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from omegaconf import DictConfig, OmegaConf
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from experiments.tiny_wan.clips import TRAIN, rendered, to_model
from experiments.tiny_wan.text import MAX_TOKENS, build_text_encoder, build_tokenizer
from experiments.tiny_wan.training import Optimizers, Training, keep_freed_pages
from experiments.tiny_wan.vae import ParallelVAE
from fastvmt.world.scene import Scene, sample_scene
from fastvmt.world.vocabulary import sample_caption


class TextToVideo(nn.Module):
    """Text encoder and transformer, trained together."""

    def __init__(self, cfg: DictConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder: UMT5EncoderModel = build_text_encoder(cfg.text.width, cfg.text.layers, len(tokenizer))
        self.transformer = WanTransformer3DModel(**OmegaConf.to_container(cfg.model), text_dim=cfg.text.width)
        nn.init.zeros_(self.transformer.proj_out.weight)
        nn.init.zeros_(self.transformer.proj_out.bias)

    def start_from(self, folder: Path) -> None:
        """Take the weights of a packed model."""
        self.transformer.load_state_dict(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors"))
        encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32)
        self.text_encoder.load_state_dict(encoder.state_dict())

    def embed(self, captions: list[str]) -> Tensor:
        """(B, MAX_TOKENS, C), zero behind each caption's end, as ``WanPipeline`` does it."""
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, max_length=MAX_TOKENS,
                                return_tensors="pt").to(self.text_encoder.device)  # fmt: skip
        hidden = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return hidden * tokens.attention_mask[..., None]

    def velocity(self, x: Tensor, sigma: Tensor, captions: list[str]) -> Tensor:
        return self.transformer(x, 1000.0 * sigma, self.embed(captions), return_dict=False)[0]


def sample_sigmas(batch: int, shift: float, uniform: float, generator: torch.Generator) -> Tensor:
    """Shifted logit-normal noise levels, a fraction ``uniform`` of them uniform in [0, 1]."""
    s = torch.sigmoid(torch.randn(batch, generator=generator))
    s = torch.where(torch.rand(batch, generator=generator) < uniform, torch.rand(batch, generator=generator), s)
    return shift * s / (1 + (shift - 1) * s)


@torch.no_grad()
def latent_pool(cfg: DictConfig, count: int, frames: int, seed: int, file: Path) -> tuple[Tensor, list[Scene]]:
    """Normalised latents (count, C, F, H, W) in 16 bit, cached in ``file``, and their scenes."""
    if file.exists():
        rng = ([TRAIN, seed, i] for i in range(count))
        return load_file(file)["latents"], [sample_scene(np.random.default_rng(key), frames) for key in rng]
    vae = AutoencoderKLWan.from_pretrained(Path(cfg.folder) / "vae").to(cfg.device)
    video, scenes = rendered(count, frames, cfg.size, seed)
    parallel = ParallelVAE(vae)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    latents = []
    for part in track(video.split(64 if frames == 1 else 8), description="encoding"):
        with torch.autocast(cfg.device, torch.bfloat16):
            z, _ = parallel.encode(to_model(part).to(cfg.device))
        latents.append(((z.float().cpu() - mean) / std).half())
    pool = torch.cat(latents).contiguous()
    save_file({"latents": pool}, file)
    return pool, scenes


def loss_of(
    model: TextToVideo, pool: tuple[Tensor, list[Scene]], batch: int, shift: float, cfg: DictConfig, seed: int
) -> Tensor:
    """Flow-matching loss of one random batch."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    index = torch.randint(len(pool[0]), (batch,), generator=generator)
    captions = []
    for i in index.tolist():
        scene = pool[1][i]
        words = sample_caption(rng, list(scene.objects), scene.background)
        captions.append("" if rng.random() < cfg.caption_dropout else words)
    x0 = pool[0][index].float()
    noise = torch.randn(x0.shape, generator=generator)
    sigma = sample_sigmas(batch, shift, cfg.uniform_sigmas, generator)
    x = torch.lerp(x0, noise, sigma.view(-1, 1, 1, 1, 1))
    with torch.autocast(cfg.device, torch.bfloat16):
        v = model.velocity(x.to(cfg.device), sigma.to(cfg.device), captions)
    return (v.float() - (noise - x0).to(cfg.device)).square().mean()


def build(cfg: DictConfig) -> tuple[TextToVideo, Training]:
    """The model and its (resumed) training."""
    torch.manual_seed(cfg.seed)
    model = TextToVideo(cfg, build_tokenizer()).to(cfg.device)
    if cfg.init is not None:
        model.start_from(Path(cfg.init))
    adam = ("patch_embedding", "proj_out", "condition_embedder", "scale_shift_table", "text_encoder")
    optimizers = Optimizers(cfg.muon_lr, cfg.adam_lr, model, adam, cfg.weight_decay)
    training = Training(model, optimizers, Path(cfg.folder) / cfg.name, steps=cfg.steps, ema=cfg.ema)
    return model, training


@hydra.main(version_base="1.3", config_path="conf", config_name="dit")
def main(cfg: DictConfig) -> None:
    keep_freed_pages()
    folder = Path(cfg.folder)
    model, training = build(cfg)
    if cfg.compile:
        for block in model.transformer.blocks:
            block.compile(dynamic=False)
    frames = latent_pool(cfg, cfg.pool_frames, 1, cfg.seed + 1, folder / "frames.safetensors")
    clips = latent_pool(cfg, cfg.pool_clips, cfg.frames, cfg.seed + 2, folder / "clips.safetensors")
    for step in training.steps():
        is_clip = training.progress > cfg.clips_from and step % cfg.frame_every != 0
        if is_clip:
            loss = loss_of(model, clips, cfg.clip_batch, cfg.clip_shift, cfg, step)
        else:
            loss = loss_of(model, frames, cfg.frame_batch, cfg.frame_shift, cfg, step)
        training.update(loss, clip=float(is_clip))


if __name__ == "__main__":
    main()
