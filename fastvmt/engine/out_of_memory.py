"""What to say when a GPU's memory is not enough: one line with what to try next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig

from fastvmt.errors import UserError
from fastvmt.settings import Memory


class DeviceFull(UserError):
    """The device ran out of memory, and the message says what to try."""


@contextmanager
def refused(backbone: DictConfig) -> Iterator[None]:
    """Raise :func:`refusal` where the device runs out of memory within the context."""
    with replaced(lambda: refusal(backbone)):
        yield


@contextmanager
def refused_loading(backbone: DictConfig) -> Iterator[None]:
    """Raise :func:`too_large` where the device runs out of memory within the context, which loads the model."""
    with replaced(lambda: too_large(backbone)):
        yield


@contextmanager
def refused_scores() -> Iterator[None]:
    """Raise an error about the scores where the device runs out of memory within the context, which needs them."""
    told = "the device ran out of memory with the networks of the scores; set metrics.device=cpu"
    with replaced(lambda: DeviceFull(f"{told}, and of a tracker that is a network tracker.device=cpu")):
        yield


@contextmanager
def replaced(told: Callable[[], DeviceFull]) -> Iterator[None]:
    """Raise what ``told`` gives in place of a device's lack of memory, also where a constructor's caller wrapped it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise told() from error
    except DeviceFull:
        raise
    except UserError as error:
        if isinstance(error.__cause__, torch.OutOfMemoryError):
            raise told() from error
        raise


def refusal(backbone: DictConfig) -> DeviceFull:
    """The error for a run whose device ran out of memory; presets of memory in order, offload, smaller clips."""
    presets = [preset.value for preset in Memory]
    name = str(backbone.get("memory", presets[-1]))
    after = presets[presets.index(name) + 1 :]
    if after:
        mend = f"set backbone.memory={after[0]}"
    else:
        mend = offload(backbone) or "lower backbone.frames, backbone.height or backbone.width"
    return DeviceFull(f"backbone.memory={name}: the device ran out of memory; {mend}")


def too_large(backbone: DictConfig) -> DeviceFull:
    """The error for weights that the device has no room for: presets of memory are about gradients."""
    mend = offload(backbone) or "take a smaller model, or a device with more memory free"
    return DeviceFull(
        f"backbone.path={backbone.get('path')}: the device ran out of memory while weights loaded; {mend}"
    )


def offload(backbone: DictConfig) -> str | None:
    """What to set so that blocks wait in the CPU's memory; None if they do."""
    if backbone.get("offload", False):
        return None
    needs = [] if backbone.get("compile", "none") == "none" else ["backbone.compile=none"]
    if backbone.get("memory") == Memory.fast.value:
        needs.append(f"backbone.memory={Memory.balanced.value}")
    return f"set {' '.join([*needs, 'backbone.offload=true'])}"
