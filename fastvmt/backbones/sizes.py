"""Bytes of a model's weights, from its JSON files alone: the architecture is made without memory for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fastvmt.backbones.layout import Weights
from fastvmt.backbones.weights import empty, of_diffusers


def bytes_by_name(kind: Any, folder: Path, dtype: torch.dtype) -> dict[str, int]:
    """Bytes of every parameter of a part that is loaded in ``dtype``; tied ones count once.

    Some architectures keep some of their modules in float32: diffusers' always, transformers' instead of float16.
    """
    listed = getattr(kind, "_keep_in_fp32_modules", None) or ()
    single = set(listed) if of_diffusers(kind) or dtype is torch.float16 else set()

    def number(name: str) -> torch.dtype:
        return torch.float32 if single & set(name.split(".")) else dtype

    parameters = empty(kind, folder).named_parameters()
    return {name: parameter.numel() * number(name).itemsize for name, parameter in parameters}


def weigh(parts: Mapping[str, Any], stack: str, folder: Path, dtype: torch.dtype) -> Weights:
    """The bytes of the model in ``folder``, whose ``parts`` are classes of transformers and diffusers.

    ``stack`` is the transformer's attribute that lists its blocks. Raises ``ValueError`` for a broken JSON file.
    """
    transformer = bytes_by_name(parts["transformer"], folder / "transformer", dtype)
    blocks = {name: size for name, size in transformer.items() if name.startswith(f"{stack}.") and name.count(".") > 2}
    first = sum(size for name, size in blocks.items() if name.startswith(f"{stack}.0."))
    return Weights(
        text_encoder=sum(bytes_by_name(parts["text_encoder"], folder / "text_encoder", dtype).values()),
        autoencoder=sum(bytes_by_name(parts["vae"], folder / "vae", torch.float32).values()),
        transformer=sum(transformer.values()),
        blocks=sum(blocks.values()),
        layers=first,
        transformers=sum(name.startswith("transformer") for name in parts),
    )
