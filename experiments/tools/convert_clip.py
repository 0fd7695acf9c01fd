"""Turn CLIP weights of other forms into the open_clip folder that ``metrics.clip.model`` takes.

``python -m experiments.tools.convert_clip SOURCE TARGET`` reads a folder of transformers' ``CLIPModel``, or tensors
under open_clip's names (``.bin``, ``.pt``, ``.safetensors``), for which ``--architecture`` names the model; nothing is
unpickled but tensors. Only OpenAI's tokens and preprocessing are known: a folder with others is refused.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastvmt.torchvision_ops  # noqa: F401  before open_clip, which imports torchvision
from experiments import command_line

# isort: split
import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from safetensors.torch import save_file
from torch import Tensor

from fastvmt.score.clip.files import ARCHITECTURE, FOLDER
from fastvmt.weight_file import WeightFile

TOWERS = {"text_model": "", "vision_model": "visual."}
NORMS = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
PLACES = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "logit_scale": "logit_scale",
}
VOCABULARY = 49_408
"""Tokens of OpenAI's byte-pair encoding, which ships with open_clip."""


def renamed(state: dict[str, Tensor], layers: dict[str, int]) -> dict[str, Tensor]:
    """transformers' tensors under open_clip's names; ``layers`` of each tower. ``KeyError`` for one that is missing."""
    found = {mine: state[theirs] for theirs, mine in PLACES.items()}
    found["text_projection"] = state["text_projection.weight"].T
    found["visual.proj"] = state["visual_projection.weight"].T
    for tower, prefix in TOWERS.items():
        for k in range(layers[tower]):
            theirs = f"{tower}.encoder.layers.{k}"
            mine = f"{prefix}transformer.resblocks.{k}"
            for kind in ("weight", "bias"):
                attention = [state[f"{theirs}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                found[f"{mine}.attn.in_proj_{kind}"] = torch.cat(attention)
                found[f"{mine}.attn.out_proj.{kind}"] = state[f"{theirs}.self_attn.out_proj.{kind}"]
                found |= {f"{mine}.{b}.{kind}": state[f"{theirs}.{a}.{kind}"] for a, b in NORMS.items()}
    return found


def from_transformers(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Architecture and tensors of a folder that ``CLIPModel.save_pretrained`` wrote.

    Raises ``ValueError`` if it is no CLIP of OpenAI's kind or lacks a tensor.
    """
    from transformers import CLIPConfig

    config: Any = CLIPConfig.from_pretrained(folder, local_files_only=True)
    text, vision = config.text_config, config.vision_config
    kinds = {text.hidden_act, vision.hidden_act}
    if text.vocab_size != VOCABULARY or len(kinds) != 1 or not kinds <= {"quick_gelu", "gelu"}:
        raise ValueError(f"{str(folder)!r} has {text.vocab_size} tokens and {', '.join(sorted(kinds))}: not OpenAI's")
    files = [folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()]
    if not files:
        raise ValueError(f"{str(folder)!r} lacks model.safetensors")
    architecture = {
        "embed_dim": config.projection_dim,
        "quick_gelu": kinds == {"quick_gelu"},
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.num_hidden_layers,
            "width": vision.hidden_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "patch_size": vision.patch_size,
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
        },
    }
    layers = {"text_model": text.num_hidden_layers, "vision_model": vision.num_hidden_layers}
    try:
        return architecture, renamed(WeightFile(files[0], "SOURCE", "CLIP").state(), layers)
    except KeyError as error:
        raise ValueError(f"{str(files[0])!r} lacks the tensor {error}") from error


def convert(source: Path, target: Path, architecture: str = ARCHITECTURE) -> Path:
    """Write the open_clip folder ``target``, and return it.

    Raises ``ValueError`` for weights that do not fit their architecture, an unknown one, or one that is OpenAI's
    but for the GELU that its name does not state.
    """
    if source.is_dir():
        config, state = from_transformers(source)
    else:
        known = open_clip.get_model_config(architecture)
        if known is None:
            raise ValueError(f"--architecture={architecture} is unknown to open_clip, see open_clip.list_models()")
        config = known
        state = WeightFile(source, "SOURCE", "CLIP").state()
    sizes = {key: config[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}
    model = open_clip.CLIP(**sizes, quick_gelu=config.get("quick_gelu", False))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{str(source)!r} does not fit {architecture}: {error}") from error
    target.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, target / FOLDER[1])
    prepare = {"mean": list(OPENAI_DATASET_MEAN), "std": list(OPENAI_DATASET_STD)}
    (target / FOLDER[0]).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": prepare}, indent=1))
    return target


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path, help="a folder, which may not exist yet")
    parser.add_argument("--architecture", default=ARCHITECTURE, help=f"open_clip's name (default: {ARCHITECTURE})")
    arguments = parser.parse_args(argv)
    try:
        convert(arguments.source, arguments.target, arguments.architecture)
    except (ValueError, OSError) as error:
        parser.exit(2, f"convert_clip: {error}\n")


if __name__ == "__main__":
    command_line.run(main)
