"""Train tiny-clip, the judge of text similarity: ``python -m experiments.tiny_wan.clip``.

The architecture, the folder and its loading are open_clip's own. Training asks of every frame and
every text in a batch whether the text is true of the frame (the sigmoid loss of SigLIP, Zhai et
al. 2023), so that a second frame with the same content is no false negative, and so that a frame
whose object is a blob is a negative of every text that names an object.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import open_clip
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from experiments import command_line
from experiments.tiny_wan.clips import HELD_OUT, TRAIN
from experiments.tiny_wan.pairs import STAGES, Pool, content, rendered_pool, texts_of, truth
from experiments.tiny_wan.text import build_tokenizer
from experiments.tiny_wan.training import Optimizers, Training, keep_freed_pages
from fastvmt.results.provenance import processor
from fastvmt.versions import main_options
from fastvmt.world.vocabulary import BACKGROUNDS, OBJECTS, canonical_caption

ARCHITECTURE, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


def degraded(x: Tensor, generator: torch.Generator) -> Tensor:
    """Frames (B, 3, H, W) in [-1, 1] with the faults of a small generator: soft, tinted, noisy."""

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(len(x), channels, 1, 1).uniform_(low, high, generator=generator).to(x.device)

    factor = int(torch.randint(2, 5, (), generator=generator))
    coarse = F.interpolate(F.avg_pool2d(x, factor), size=x.shape[-2:], mode="bicubic")
    x = torch.lerp(x, coarse, draw(-1.0, 1.0).clamp_min(0.0))  # half of the frames stay sharp
    x = torch.lerp(x.mean(1, keepdim=True), x, draw(0.7, 1.2))  # saturation
    x = x * draw(0.8, 1.15, 3) + draw(-0.12, 0.12)
    noise = torch.randn(x.shape, generator=generator).to(x.device)
    return (x + draw(-0.1, 0.15).clamp_min(0.0) * noise).clamp(-1.0, 1.0)


def to_model(frames: Tensor) -> Tensor:
    """uint8 frames to float in [-1, 1], as the folder's preprocess_cfg does for frames of its size."""
    return frames.float() / 127.5 - 1.0


def pair_loss(model: open_clip.CLIP, x: Tensor, tokens: Tensor, true_BM: Tensor) -> tuple[Tensor, float]:
    """Sigmoid loss of every pair, summed over the texts; also the part of the pairs judged wrongly."""
    # The plain attention kernel: on CPUs the backward pass of the flash kernel is several times slower.
    with torch.autocast(x.device.type, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        image, text = model.encode_image(x), model.encode_text(tokens)
    cosine = F.normalize(image.float(), dim=-1) @ F.normalize(text.float(), dim=-1).T
    logits = model.logit_scale.exp() * cosine + model.logit_bias
    wrong = ((logits > 0) != (true_BM > 0)).float().mean()
    loss = F.binary_cross_entropy_with_logits(logits, true_BM, reduction="sum") / len(x)
    return loss, wrong.item()


def fit(training: Training, pool: Pool, tokenizer: open_clip.HFTokenizer, cfg: DictConfig) -> None:
    """Train until the minutes are used."""
    device = torch.device(cfg.device)
    generator = torch.Generator().manual_seed(cfg.seed + training.step_count)
    rng = np.random.default_rng([TRAIN, cfg.seed, training.step_count])
    for _ in training.steps():
        index = torch.randint(len(pool.scenes), (cfg.batch,), generator=generator)
        texts = [pair for i in index.tolist() for pair in texts_of(pool.scenes[i], rng, cfg.fillers)]
        mentioned = torch.stack([content(names) for _, names in texts])
        x = degraded(to_model(pool.frames_N3HW[index].to(device)), generator)
        tokens = tokenizer([text for text, _ in texts]).to(device)
        true = truth(pool.content_NK[index], mentioned).to(device)
        loss, wrong = pair_loss(training.model, x, tokens, true)
        training.update(loss, wrong=wrong)


@torch.no_grad()
def similarity(
    model: open_clip.CLIP, tokenizer: open_clip.HFTokenizer, frames_N3HW: Tensor, texts: list[str]
) -> Tensor:
    """Cosine of every frame with every text, (N, M)."""
    text: Tensor = model.encode_text(tokenizer(texts), normalize=True)
    chunks = torch.split(frames_N3HW, 100)
    images = torch.cat([model.encode_image(to_model(x), normalize=True) for x in chunks])
    return images @ text.T


def recognised(cosine_NM: Tensor, content_NM: Tensor) -> float:
    """Fraction of frames whose best texts are exactly those that are true, as many as there are."""
    count = int(content_NM[0].sum())
    best = torch.zeros_like(content_NM).scatter_(1, cosine_NM.topk(count).indices, 1.0)
    return (best == content_NM).all(1).float().mean().item()


def held_out_report(folder: Path, cfg: DictConfig) -> dict[str, float]:
    """Held-out figures of the model in ``folder``, loaded the way its users load it."""
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    pools = {stage: rendered_pool(cfg.eval_clips, cfg, HELD_OUT, stage) for stage in STAGES}
    pool = pools["clean"]
    texts = [*(f"a {name}" for name in OBJECTS), *(f"on {name}" for name in BACKGROUNDS)]
    cosine = similarity(model, tokenizer, pool.frames_N3HW, texts)
    k = len(OBJECTS)
    one = pool.content_NK[:, :k].sum(1) == 1
    captions = [canonical_caption([name], place) for name in OBJECTS for place in BACKGROUNDS]
    named = torch.stack([content([name, place]) for name in OBJECTS for place in BACKGROUNDS])
    true = truth(pool.content_NK[one], named)
    report: dict[str, float] = {
        "object_top1": recognised(cosine[one, :k], pool.content_NK[one, :k]),
        "background_top1": recognised(cosine[one, k:], pool.content_NK[one, k:]),
        "both_objects_top2": recognised(cosine[~one, :k], pool.content_NK[~one, :k]),
    }
    scores = {stage: similarity(model, tokenizer, pools[stage].frames_N3HW[one], captions) for stage in STAGES}
    report["caption_top1"] = recognised(scores["clean"], true)
    report["cosine_wrong"] = scores["clean"][true == 0].mean().item()
    report |= {f"cosine_{stage}": scores[stage][true > 0].mean().item() for stage in STAGES}
    return report | {"single_object_frames": int(one.sum()), "two_object_frames": int((~one).sum())}


CARD = """# tiny-clip

A small CLIP that judges how well frames of the moving-emoji world fit a text, in open_clip's own
architecture and folder layout:

```python
model, _, preprocess = open_clip.create_model_and_transforms("local-dir:fastvmt/models/tiny-clip")
tokenizer = open_clip.get_tokenizer("local-dir:fastvmt/models/tiny-clip")
```

It knows {objects} objects and {backgrounds} backgrounds (`fastvmt/world/vocabulary.py`) and nothing else:
a word outside that vocabulary is one unknown token, and other images are out of its range.

- Size: {parameters:,} parameters, 16-bit weights; {side} px frames, {tokens} word-level tokens.
- Data: {pool} rendered clips of {frames} frames with captions, degraded mildly as a small generator would.
- Training: {steps} steps of {batch} frames, {minutes:.1f} minutes on {hardware};
  `python -m experiments.tiny_wan.clip` repeats it.
- Held-out frames ({single_object_frames} with one object, {two_object_frames} with two): top-1 of the object
  {object_top1:.3f}, of the background {background_top1:.3f}, of the caption among all pairs
  {caption_top1:.3f}; both objects of two {both_objects_top2:.3f}.
- Mean cosine with the true caption {cosine_clean:.3f}; with other captions {cosine_wrong:.3f};
  with the true caption when the object is a blob {cosine_blobs:.3f}, when it is missing {cosine_empty:.3f}.

Licence: the weights are MIT, as the project. The sprites they were trained on derive from Noto Emoji,
which is under the SIL Open Font License 1.1.
"""


def write_architecture(folder: Path, cfg: DictConfig) -> None:
    """Write open_clip's config and the tokenizer."""
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = cfg.model.text_cfg.context_length
    tokenizer.save_pretrained(folder)
    model: Any = OmegaConf.to_container(cfg.model)
    model["text_cfg"]["vocab_size"] = len(tokenizer)
    config = {"model_cfg": model, "preprocess_cfg": OmegaConf.to_container(cfg.preprocess)}
    (folder / ARCHITECTURE).write_text(json.dumps(config, indent=1))


def hardware(device: str) -> str:
    """The name of the processor or accelerator that trained."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    return f"{processor()} ({torch.get_num_threads()} of {os.cpu_count()} cores)"


def write_report(folder: Path, training: Training, cfg: DictConfig) -> None:
    """Measure the model in ``folder`` and write the report and the model card."""
    report: dict[str, Any] = held_out_report(folder, cfg)
    report |= {"steps": training.step_count, "minutes": training.seconds / 60}
    report["hardware"] = hardware(cfg.device)
    report["parameters"] = sum(p.numel() for p in training.model.parameters())
    (Path(cfg.folder) / "clip_report.json").write_text(json.dumps(report, indent=1))
    sizes = {"side": cfg.size, "tokens": cfg.model.text_cfg.context_length}
    sizes |= {name: cfg[name] for name in ("pool", "frames", "batch")}
    sizes |= {"objects": len(OBJECTS), "backgrounds": len(BACKGROUNDS)}
    (folder / "README.md").write_text(CARD.format(**report, **sizes))


@hydra.main(**main_options(), config_path="conf", config_name="clip")
def main(cfg: DictConfig) -> None:
    keep_freed_pages()
    torch.manual_seed(cfg.seed)
    folder = Path(cfg.folder) / "clip"
    folder.mkdir(parents=True, exist_ok=True)
    write_architecture(folder, cfg)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, device=cfg.device)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    by_adam = ("conv1", "embedding", "text_projection", "visual.proj")
    optimizers = Optimizers(cfg.muon_lr, cfg.adam_lr, model, by_adam, cfg.weight_decay)
    where = Path(cfg.folder) / "clip_training"
    training = Training(model, optimizers, where, steps=cfg.steps, ema=cfg.ema)
    fit(training, rendered_pool(cfg.pool, cfg, TRAIN), tokenizer, cfg)
    averaged = training.averaged.state_dict()
    weights = {name: value.half().cpu().contiguous() for name, value in averaged.items()}
    save_file(weights, folder / WEIGHTS)
    write_report(folder, training, cfg)
    shutil.copytree(folder, cfg.output, copy_function=shutil.copyfile, dirs_exist_ok=True)


if __name__ == "__main__":
    command_line.run(main)
