"""What to say when a GPU's memory is not enough: one line with what to try next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig

from fastvmt.errors import UserError
from fastvmt.settings import Memory


@contextmanager
def refused(backbone: DictConfig) -> Iterator[None]:
    """Raise the :func:`refusal` where the device runs out of memory within the context."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise refusal(backbone) from error


def refusal(backbone: DictConfig) -> UserError:
    """The error for a run whose device ran out of memory; presets of memory in order, offload, smaller clips."""
    presets = [preset.value for preset in Memory]
    name = str(backbone.get("memory", presets[-1]))
    after = presets[presets.index(name) + 1 :]
    if after:
        mend = f"set backbone.memory={after[0]}"
    elif not backbone.get("offload", False):
        plain = "" if backbone.get("compile", "none") == "none" else "backbone.compile=none "
        mend = f"set {plain}backbone.offload=true"
    else:
        mend = "lower backbone.frames, backbone.height or backbone.width"
    return UserError(f"backbone.memory={name}: the device ran out of memory; {mend}")
