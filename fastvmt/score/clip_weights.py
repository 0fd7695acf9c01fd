"""CLIP from local files, in every form that it is published in. Nothing is downloaded.

OpenAI's CLIP uses quick-GELU. Built with plain GELU the same weights load without an error and give
wrong embeddings, so a state dict is only read when its architecture says which of the two it needs.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from fastvmt.score.weights import MissingWeightsError
from fastvmt.weight_file import WeightFile

ARCHITECTURE = "ViT-B-32-quickgelu"
FOLDER = ("open_clip_config.json", "open_clip_model.safetensors")
VOCABULARY = 49_408
"""Tokens of OpenAI's byte-pair encoding, which ships with open_clip."""


@dataclass(frozen=True)
class LoadedClip:
    """A CLIP model and how to feed it; the towers' outputs are not normalised."""

    encode_image: Callable[[Tensor], Tensor]
    encode_text: Callable[[Tensor], Tensor]
    tokenizer: Callable[..., Tensor]
    """(prompts, context_length) to tokens; cuts what is too long and keeps the end token."""
    context: int
    """Tokens of a prompt, start and end included."""
    size: int
    """Side of the images, pixels."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: dict[str, Any]
    """``interpolation`` and ``resize_mode`` of open_clip's image transform."""
    form: str
    sha256: str


def load_clip(
    file: WeightFile, device: str, architecture: str = ARCHITECTURE, quick_gelu: bool | None = None
) -> LoadedClip:
    """Load CLIP in float32; the weights' SHA-256 and tensors are checked before the model is built.

    Args:
        file: an open_clip folder, a transformers ``CLIPModel`` folder, OpenAI's TorchScript archive, or a
            state dict (``.safetensors``, ``.bin``, ``.pt``).
        architecture: open_clip's name, for a state dict only; the other forms say it themselves.
        quick_gelu: which GELU a state dict needs; None takes it from a name that ends in ``-quickgelu``.

    Raises ``MissingWeightsError`` for an incomplete folder, ``ValueError`` for damaged files and those that do not fit.
    """
    path = file.path
    if path.is_dir():
        if (path / "config.json").is_file() and not (path / FOLDER[0]).is_file():
            return transformers_clip(file, device)
        return folder_clip(file, device)
    sha256 = file.sha256
    if is_torchscript(path):
        with file.blamed("is damaged or not an archive of OpenAI's CLIP"):
            model = open_clip.load_openai_model(str(path), precision="fp32", device=device)
        return _from_open_clip(model, open_clip.SimpleTokenizer(), "OpenAI TorchScript", sha256)
    return state_dict_clip(file, device, architecture, quick_gelu)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip that carries code beside the tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def folder_clip(file: WeightFile, device: str) -> LoadedClip:
    """open_clip's own layout, which carries architecture, preprocessing and sometimes a tokenizer."""
    missing = [name for name in FOLDER if not (file.path / name).is_file()]
    if missing:  # open_clip would go on with random weights
        raise MissingWeightsError(file.message(f"lacks {', '.join(missing)}"))
    weights, name = replace(file, path=file.path / FOLDER[1]), f"local-dir:{file.path}"
    weights.state()
    with file.blamed(f"is no CLIP folder of open_clip's: {' and '.join(FOLDER)} do not fit together"):
        model, tokenizer = open_clip.create_model(name, device=device, precision="fp32"), open_clip.get_tokenizer(name)
    return _from_open_clip(model, tokenizer, "open_clip folder", weights.sha256)


def state_dict_clip(file: WeightFile, device: str, architecture: str, quick_gelu: bool | None) -> LoadedClip:
    """Tensors alone: the architecture is named by the caller."""
    if architecture not in open_clip.list_models():
        raise ValueError(
            f"architecture={architecture!r} is unknown to open_clip: set metrics.clip.architecture=ViT-B-32-quickgelu "
            "or ViT-L-14-quickgelu for OpenAI's weights, see open_clip.list_models()"
        )
    named_quick = architecture.endswith("-quickgelu")
    if not named_quick and quick_gelu is None:
        raise ValueError(
            f"architecture={architecture!r} with a file of weights does not say which GELU they need: set "
            f"metrics.clip.architecture={architecture}-quickgelu for OpenAI's weights, or "
            "metrics.clip.quick_gelu=false for weights trained with plain GELU"
        )
    if named_quick and quick_gelu is False:
        raise ValueError(f"quick_gelu=false contradicts architecture={architecture!r}: drop one of the two")
    file.state()
    with file.blamed(
        f"does not fit architecture={architecture!r} (of metrics.clip.model: set metrics.clip.architecture)"
    ):
        model = open_clip.create_model(
            architecture, pretrained=str(file.path), device=device, precision="fp32", force_quick_gelu=bool(quick_gelu)
        )
    return _from_open_clip(model, open_clip.get_tokenizer(architecture), architecture, file.sha256)


def _from_open_clip(model: Any, tokenizer: Any, form: str, sha256: str) -> LoadedClip:
    model.eval()
    prepare = dict(getattr(model.visual, "preprocess_cfg", {}))
    size = model.visual.image_size
    return LoadedClip(
        model.encode_image,
        model.encode_text,
        tokenizer,
        int(model.context_length),
        int(size if isinstance(size, int) else size[0]),
        tuple(prepare.get("mean") or OPENAI_DATASET_MEAN),
        tuple(prepare.get("std") or OPENAI_DATASET_STD),
        {key: prepare[key] for key in ("interpolation", "resize_mode") if prepare.get(key)},
        form,
        sha256,
    )


def transformers_clip(file: WeightFile, device: str) -> LoadedClip:
    """A folder that ``CLIPModel.save_pretrained`` wrote; tokens and preprocessing are OpenAI's."""
    from transformers import CLIPModel

    folder = file.path
    found = [folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()]
    if not found:
        raise MissingWeightsError(file.message("lacks model.safetensors"))
    weights = replace(file, path=found[0])
    weights.state()
    with file.blamed("is no CLIPModel folder of transformers'"):
        loaded: Any = CLIPModel.from_pretrained(
            str(folder), local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    model, info = loaded
    if info["missing_keys"]:  # they would be random
        raise ValueError(file.message(f"lacks tensors, the first is {min(info['missing_keys'])}"))
    model.eval().to(device)
    text, vision = model.config.text_config, model.config.vision_config
    if text.vocab_size != VOCABULARY:
        raise ValueError(
            f"{str(folder)!r} has {text.vocab_size} tokens, OpenAI's CLIP {VOCABULARY}: use an open_clip folder, "
            "which carries its own tokenizer"
        )
    return LoadedClip(
        lambda images: model.visual_projection(model.vision_model(pixel_values=images).pooler_output),
        lambda tokens: model.text_projection(model.text_model(input_ids=tokens).pooler_output),
        open_clip.SimpleTokenizer(context_length=text.max_position_embeddings),
        text.max_position_embeddings,
        vision.image_size,
        OPENAI_DATASET_MEAN,
        OPENAI_DATASET_STD,
        {},
        "transformers CLIPModel",
        weights.sha256,
    )
