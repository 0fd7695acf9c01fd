"""Pack a trained (or half-trained) tiny-wan: ``python -m experiments.tiny_wan.export``.

Writes the directory that ``WanPipeline.from_pretrained`` loads, then generates clips with it,
judges them with tiny-clip, draws contact sheets and writes the model card.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

import hydra
import numpy as np
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline
from numpy.typing import NDArray
from omegaconf import DictConfig
from PIL import Image
from rich.progress import track

from experiments import command_line
from experiments.tiny_wan.dit import build
from experiments.tiny_wan.text import MAX_TOKENS
from fastvmt.score.clip.encoder import ClipEncoder
from fastvmt.versions import main_options
from fastvmt.world.vocabulary import BACKGROUNDS, OBJECTS, canonical_caption

Clips = NDArray[np.uint8]


def write_model(cfg: DictConfig, folder: Path) -> dict[str, float]:
    """The diffusers directory, weights in 16 bit. Returns the training's size and cost."""
    model, training = build(cfg)
    averaged = training.averaged
    pipeline = WanPipeline(
        tokenizer=model.tokenizer,
        text_encoder=averaged.text_encoder.eval().half(),
        transformer=averaged.transformer.eval().half(),
        vae=AutoencoderKLWan.from_pretrained(Path(cfg.folder) / "vae").half(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=cfg.sampling_shift),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    vocabulary = {"objects": list(OBJECTS), "backgrounds": list(BACKGROUNDS)}
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary, indent=1))
    return {
        "parameters_m": sum(p.numel() for m in (model.transformer, model.text_encoder) for p in m.parameters()) / 1e6,
        "steps": training.step_count + cfg.earlier.steps,
        "minutes": training.seconds / 60 + cfg.earlier.minutes,
    }


def generate(folder: Path, prompts: list[str], cfg: DictConfig) -> Clips:
    """One clip per prompt, (N, T, H, W, 3), with diffusers' own pipeline."""
    pipeline = WanPipeline.from_pretrained(folder, dtype=torch.float32).to(cfg.device)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(cfg.seed)
    clips = []
    for i in track(range(0, len(prompts), 8), description="generating"):
        video = pipeline(
            prompt=prompts[i : i + 8],
            height=cfg.size,
            width=cfg.size,
            num_frames=cfg.frames,
            num_inference_steps=cfg.sample_steps,
            guidance_scale=cfg.sample_cfg,
            generator=generator,
            max_sequence_length=MAX_TOKENS,
            output_type="np",
        ).frames
        clips.append((video * 255).round().astype(np.uint8))
    return np.concatenate(clips)


def judge(clips: Clips, pairs: list[tuple[str, str]], clip_folder: Path) -> dict[str, float]:
    """Tiny-clip's top-1 of object and background over all 16 x 6 captions, mean over a clip's frames."""
    encoder = ClipEncoder(clip_folder)
    options = [(o, b) for o in OBJECTS for b in BACKGROUNDS]
    text = encoder.encode_text([canonical_caption([o], b) for o, b in options])
    hits = []
    for clip, (name, place) in zip(clips, pairs, strict=True):
        frames = encoder.encode_images(torch.from_numpy(clip).permute(0, 3, 1, 2))
        best = options[int((frames.mean(0) @ text.T).argmax())]
        hits.append((best[0] == name, best[1] == place))
    top1 = np.mean(hits, 0)
    return {"object_top1": float(top1[0]), "background_top1": float(top1[1]), "clips": len(hits)}


def contact_sheet(clips: Clips, file: Path, columns: int = 8) -> None:
    """First, middle and last frame of each clip, three rows per line of clips."""
    lines = []
    for i in range(0, len(clips) - columns + 1, columns):
        part = clips[i : i + columns]
        lines += [np.concatenate(list(part[:, t]), 1) for t in (0, clips.shape[1] // 2, clips.shape[1] - 1)]
    Image.fromarray(np.concatenate(lines)).save(file)


CARD = """# tiny-wan

A text-to-video model in exactly the Wan2.1 architecture, small enough for a laptop: {parameters_m:.1f} M parameters
in transformer and text encoder. `diffusers.WanPipeline.from_pretrained` loads this directory.

- **Clips**: {frames} frames of {size} x {size} pixels; {tokens} tokens; prompts of up to 16 words.
- **Data**: the moving-emoji world (`fastvmt/world`), rendered from seeds: {objects} objects, {backgrounds} backgrounds,
  captions that never name the motion. Sprites: Noto Color Emoji, SIL Open Font License 1.1.
- **Training**: `python -m experiments.tiny_wan.vae`, then `.dit`, then `.export`. Autoencoder {vae_steps} steps in
  {vae_minutes:.0f} min, transformer and text encoder {steps} steps in {minutes:.0f} min.
- **Hardware**: {hardware}.
- **Auxiliary losses**, no part of the packed model, told block {parts_block} which object and which part of it each
  token shows, and block {match_block}'s queries and keys (before the rotary embedding) which tokens of two frames
  show the same point. The second makes motion readable from attention after a few ten thousand clips, where a large
  model learns it from millions; it favours methods that read the attention of that block.
- **Autoencoder**: {psnr_mean:.1f} dB PSNR on {vae_clips} held-out clips (worst {psnr_worst:.1f} dB).
- **Judged by tiny-clip**, {clips} clips without motion guidance: the object is right in {object_top1:.0%}, the
  background in {background_top1:.0%} ({sample_steps} steps, CFG {sample_cfg}, shift {sampling_shift}).
- **Knows only**: {names}; on {places}.
- **Licence**: weights MIT, as the project.
"""


def write_card(folder: Path, cfg: DictConfig, facts: dict[str, float], vae: dict[str, float]) -> None:
    """README.md of the directory, from measured figures."""
    text = CARD.format(
        **facts,
        parts_block=cfg.parts_block,
        match_block=cfg.match_block,
        frames=cfg.frames,
        size=cfg.size,
        tokens="5 x 12 x 12",
        objects=len(OBJECTS),
        backgrounds=len(BACKGROUNDS),
        vae_steps=vae["steps"] + cfg.earlier.vae_steps,
        vae_minutes=vae["minutes"] + cfg.earlier.vae_minutes,
        psnr_mean=vae["psnr_mean"],
        psnr_worst=vae["psnr_worst"],
        vae_clips=vae["clips"],
        hardware=f"{cfg.hardware or platform.machine()}",
        sample_steps=cfg.sample_steps,
        sample_cfg=cfg.sample_cfg,
        sampling_shift=cfg.sampling_shift,
        names=", ".join(OBJECTS),
        places=", ".join(BACKGROUNDS),
    )
    (folder / "README.md").write_text(text)


@hydra.main(**main_options(), config_path="conf", config_name="dit")
def main(cfg: DictConfig) -> None:
    folder = Path(cfg.output)
    facts = write_model(cfg, folder)
    names, places = list(OBJECTS), list(BACKGROUNDS)
    pairs = [(names[i % len(names)], places[(i + i // len(names)) % len(places)]) for i in range(cfg.eval_clips)]
    clips = generate(folder, [canonical_caption([o], b) for o, b in pairs], cfg)
    contact_sheet(clips[:32], Path(cfg.folder) / "contact_sheet.png")
    facts |= judge(clips, pairs, Path(cfg.clip_folder))
    write_card(folder, cfg, facts, json.loads((Path(cfg.folder) / "vae_report.json").read_text()))
    (Path(cfg.folder) / "model_report.json").write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    command_line.run(main)
