"""Loading the parts of a model, after holding what is stored against what the architecture has."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoTokenizer

from fastvmt.backbones.folder import read_object
from fastvmt.errors import first_line

NAMED = 4
"""Tensors that an error names one by one."""
Shapes = dict[str, tuple[int, ...]]
INTEGERS = re.compile(r"[IU]\d+|BOOL")
"""Types in a safetensors header that are no floating point."""


def stored_shapes(folder: Path) -> Shapes:
    """Name and shape of every tensor of a part, from the headers of its safetensors files.

    Raises ``ValueError`` naming a file that is missing or damaged, or holds whole numbers only.
    """
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if indices:
        files = indexed(indices[0])
    else:
        files = [
            file for file in sorted(folder.glob("*.safetensors")) if file.stem in ("model", "diffusion_pytorch_model")
        ]
    if not files:
        raise ValueError(f"{folder} holds no weights: it needs a safetensors file, with an index if there are several")
    shapes: Shapes = {}
    for file in files:
        try:
            with safe_open(file, "pt") as stored:
                names = stored.keys()
                slices = {name: stored.get_slice(name) for name in names}
                shapes |= {name: tuple(each.get_shape()) for name, each in slices.items()}
                if slices and all(INTEGERS.fullmatch(each.get_dtype()) for each in slices.values()):
                    raise ValueError(f"{file} holds whole numbers, not weights. Download the model again")
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} cannot be read: {error}. Download the model again") from error
    return shapes


def indexed(index: Path) -> list[Path]:
    """The files that an index names. Raises ``ValueError`` for one that is damaged or leaves its folder."""
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{index} has no weight_map: download the model again")
    for tensor, name in names.items():
        if not isinstance(name, str) or name != Path(name).name or not name.endswith(".safetensors"):
            raise ValueError(
                f"{index} wants {tensor} from {name!r}: it may name safetensors files of its own folder only"
            )
    return sorted({index.parent / name for name in names.values()})


@dataclass(frozen=True)
class Configuration:
    """A part's configuration as its own library reads it; two with the same fields are the same."""

    fields: str
    read: Any = field(compare=False)


def of_diffusers(kind: Any) -> bool:
    """Whether a part's class is one of diffusers, not of transformers."""
    return hasattr(kind, "load_config")


def configuration(kind: Any, folder: Path) -> Configuration:
    """The configuration of a part; its library raises errors of every kind."""
    if of_diffusers(kind):
        fields = kind.load_config(folder)
        return Configuration(json.dumps(fields, default=repr), fields)
    config = kind.config_class.from_pretrained(folder, local_files_only=True)
    return Configuration(config.to_json_string(use_diff=False), config)


def empty(kind: Any, folder: Path) -> nn.Module:
    """The architecture that a part's configuration describes, without memory for its weights.

    It is shared by its callers, who must not change it. Raises ``ValueError`` for a configuration that describes none.
    """
    file = folder / "config.json"
    read_object(file)
    try:
        return architecture_of(kind, configuration(kind, folder))
    except Exception as error:
        raise ValueError(f"{file} describes no {kind.__name__}: {' '.join(str(error).split())}") from error


@lru_cache(maxsize=8)  # the parts of two models
def architecture_of(kind: Any, configuration: Configuration) -> nn.Module:
    """The architecture of a configuration, made once: a run weighs it and then holds the stored tensors against it."""
    with init_empty_weights(include_buffers=False):
        model = kind.from_config(configuration.read) if of_diffusers(kind) else kind(configuration.read)
    if not of_diffusers(kind):
        model.tie_weights()
    empty_model: nn.Module = model
    return empty_model


def listed(what: str, names: Collection[str]) -> list[str]:
    """``what`` and the first of the names, if there are any."""
    shown = sorted(names)[:NAMED]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return [f"{what} {', '.join(shown)}{more}"] if names else []


def check_stored(kind: Any, folder: Path) -> None:
    """Raise one ``ValueError`` that names the tensors which are missing, unexpected or of another shape.

    Of parameters that the architecture ties, one is enough.
    """
    model = empty(kind, folder)
    stored = stored_shapes(folder)
    expected: Shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    tied: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        tied.setdefault(id(parameter), set()).add(name)
    present = {name for names in tied.values() if names & stored.keys() for name in names}
    ignored = getattr(kind, "_keys_to_ignore_on_load_unexpected", None) or []
    wrong = [
        *listed("missing", expected.keys() - stored.keys() - present),
        *listed(
            "unexpected", {n for n in stored.keys() - expected.keys() if not any(re.search(i, n) for i in ignored)}
        ),
        *listed("of another shape", {n for n in stored.keys() & expected.keys() if stored[n] != expected[n]}),
    ]
    if wrong:
        raise ValueError(f"{folder} does not hold the weights of its config.json ({kind.__name__}): {'; '.join(wrong)}")


def load(kind: Any, folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """The model of a part in ``dtype``, frozen. Raises ``ValueError`` as :func:`check_stored` does."""
    check_stored(kind, folder)
    model = kind.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True)
    return model.to(device).eval().requires_grad_(False)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder. Raises ``ValueError`` when it cannot be read."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the libraries raise of every kind for a damaged file
        hint = (
            ""
            if (folder / "tokenizer.json").exists()
            else "; without a tokenizer.json it needs pip install sentencepiece"
        )
        raise ValueError(f"{folder} cannot be read: {first_line(error)}{hint}") from error
    if tokenizer.pad_token_id is None:
        raise ValueError(f"{folder / 'tokenizer_config.json'} names no pad_token, which prompts are filled up with")
    return tokenizer
