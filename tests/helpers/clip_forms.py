"""A tiny random CLIP with quick-GELU, in every form that CLIP is published in, and clips prepared by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

import fastvmt.torchvision_ops  # noqa: F401  before open_clip, which imports torchvision

# isort: split
import open_clip
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

WIDTH, LAYERS = 64, 2
TINY = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": LAYERS, "width": WIDTH, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": WIDTH, "heads": 1, "layers": LAYERS},
}
PROMPTS = ["a dog on grass", "two frogs in the snow"]
LONG = "a dog runs over green grass " * 30


def random_clip() -> nn.Module:
    """The reference: exact in half precision, as OpenAI's archives are, with steep MLPs, where GELUs differ."""
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**TINY).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(8 if "c_fc" in name else 1).copy_(parameter.half().float())
    return model


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.contiguous() for key, value in model.state_dict().items()}


def as_folder(model: nn.Module, folder: Path) -> Path:
    save_file(tensors(model), folder / "open_clip_model.safetensors")
    cfg = {"mean": list(OPENAI_DATASET_MEAN), "std": list(OPENAI_DATASET_STD)}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": cfg}))
    return folder


def as_safetensors(model: nn.Module, folder: Path) -> Path:
    save_file(tensors(model), folder / "open_clip_model.safetensors")
    return folder / "open_clip_model.safetensors"


def as_bin(model: nn.Module, folder: Path) -> Path:
    torch.save(tensors(model), folder / "open_clip_pytorch_model.bin")
    return folder / "open_clip_pytorch_model.bin"


class Holder(nn.Module):
    """Parameters under dotted names, and code, which makes it a TorchScript archive."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def as_torchscript(model: nn.Module, folder: Path) -> Path:
    root = Holder()
    for key, value in model.state_dict().items():
        *path, last = key.split(".")
        owner: nn.Module = root
        for part in path:
            if part not in dict(owner.named_children()):
                owner.add_module(part, Holder())
            owner = owner.get_submodule(part)
        owner.register_parameter(last, nn.Parameter(value.half(), requires_grad=False))
    torch.jit.script(root).save(str(folder / "archive.pt"))
    return folder / "archive.pt"


def as_transformers(model: nn.Module, folder: Path) -> Path:
    """transformers' names for the same tensors; queries, keys and values are separate there."""
    tower = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "hidden_act": "quick_gelu",
    }
    config = CLIPConfig(
        text_config=tower | {"num_attention_heads": 1, "eos_token_id": 49407, "bos_token_id": 49406},
        vision_config=tower | {"num_attention_heads": 1, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    theirs, mine = CLIPModel(config), model.state_dict()
    state = {
        "logit_scale": mine["logit_scale"],
        "text_projection.weight": mine["text_projection"].T,
        "visual_projection.weight": mine["visual.proj"].T,
        "text_model.embeddings.token_embedding.weight": mine["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": mine["positional_embedding"],
        "vision_model.embeddings.class_embedding": mine["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": mine["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": mine["visual.positional_embedding"],
    }
    norms = {"text_model.final_layer_norm": "ln_final", "vision_model.pre_layrnorm": "visual.ln_pre"}
    norms["vision_model.post_layernorm"] = "visual.ln_post"
    for prefix, block in (("text_model", "transformer"), ("vision_model", "visual.transformer")):
        for k in range(LAYERS):
            to, of = f"{prefix}.encoder.layers.{k}", f"{block}.resblocks.{k}"
            parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
            norms |= {f"{to}.{a}": f"{of}.{b}" for a, b in parts.items()}
            norms[f"{to}.self_attn.out_proj"] = f"{of}.attn.out_proj"
            for kind in ("weight", "bias"):
                rows = mine[f"{of}.attn.in_proj_{kind}"].chunk(3)
                state |= {f"{to}.self_attn.{n}_proj.{kind}": r for n, r in zip("qkv", rows, strict=True)}
    state |= {f"{a}.{kind}": mine[f"{b}.{kind}"] for a, b in norms.items() for kind in ("weight", "bias")}
    lost = theirs.load_state_dict(state, strict=False)
    assert not lost.unexpected_keys and all("position_ids" in key for key in lost.missing_keys)
    theirs.save_pretrained(folder)
    return folder


FORMS = {f.__name__: f for f in (as_folder, as_safetensors, as_torchscript)}
"""What scores read."""
OTHERS = {f.__name__: f for f in (as_bin, as_safetensors, as_transformers)}
"""What is converted first."""


def clip(numbers: int = 5, height: int = 40, width: int = 60) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (numbers, 3, height, width), generator=g, dtype=torch.uint8)


def prepared_by_hand(frames: Tensor) -> Tensor:
    """Shorter side to 32 with PIL, centre crop, normalise."""
    images = []
    for frame in frames.permute(0, 2, 3, 1).numpy():
        small = Image.fromarray(frame).resize((48, 32), Image.Resampling.BICUBIC).crop((8, 0, 40, 32))
        images.append(torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return (torch.stack(images) - mean) / std
