"""What to say when a GPU's memory is not enough: one line with what to try next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig

from fastvmt.errors import UserError
from fastvmt.settings import Memory


@contextmanager
def refused(backbone: DictConfig, *, loading: bool = False) -> Iterator[None]:
    """Raise :func:`refusal`, or :func:`too_large` where things load, if the device runs out of memory within."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise (too_large if loading else refusal)(backbone) from error


def refusal(backbone: DictConfig) -> UserError:
    """The error for a run whose device ran out of memory; presets of memory in order, offload, smaller clips."""
    presets = [preset.value for preset in Memory]
    name = str(backbone.get("memory", presets[-1]))
    after = presets[presets.index(name) + 1 :]
    if after:
        mend = f"set backbone.memory={after[0]}"
    else:
        mend = offload(backbone) or "lower backbone.frames, backbone.height or backbone.width"
    return UserError(f"backbone.memory={name}: the device ran out of memory; {mend}")


def too_large(backbone: DictConfig) -> UserError:
    """The error for weights that the device has no room for: presets of memory are about gradients."""
    mend = offload(backbone) or "take a smaller model, or a device with more memory free"
    return UserError(f"backbone.path={backbone.get('path')}: the device ran out of memory while weights loaded; {mend}")


def offload(backbone: DictConfig) -> str | None:
    """What to set so that blocks wait in the CPU's memory; None if they do."""
    if backbone.get("offload", False):
        return None
    plain = "" if backbone.get("compile", "none") == "none" else "backbone.compile=none "
    return f"set {plain}backbone.offload=true"
