"""Whether a run fits the device: its predicted memory, and what would fit if it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Any

import torch
from omegaconf import DictConfig

from fastvmt.backbones.layout import Layout, Weights
from fastvmt.construct import class_of
from fastvmt.cost.memory import GIB, device_bytes
from fastvmt.cost.peaks import Use, peaks
from fastvmt.device import computed_in, device_of
from fastvmt.engine.plan import Plan
from fastvmt.errors import UserError
from fastvmt.settings import Memory


def memory_of(cfg: DictConfig) -> Memory:
    """The preset of memory of a configuration."""
    return Memory(cfg.backbone.get("memory", Memory.fast.value))


def device_for(cfg: DictConfig) -> torch.device:
    """Where the video model of a configuration runs."""
    return device_of(str(cfg.backbone.get("device", "auto")))


def format_for(cfg: DictConfig) -> torch.dtype:
    """The number format of the transformer and the text encoder there."""
    return computed_in(device_for(cfg), str(cfg.backbone.get("dtype", "float32")))


def weights_of(cfg: DictConfig) -> Weights | None:
    """Bytes of the video model's weights, from its JSON files; None where its class does not know.

    Raises :class:`UserError` for files that describe no model.
    """
    kind: Any = class_of(cfg.backbone, "backbone")
    try:
        weights: Weights | None = kind.weights_of(cfg.backbone.path, format_for(cfg))
    except ValueError as error:
        raise UserError(f"backbone.path={cfg.backbone.path} cannot be used: {error}") from error
    return weights


def use_of(plan: Plan) -> Use:
    """How a plan uses the model's memory."""
    cfg = plan.cfg
    passes = plan.method.budget(plan.layout, plan.sampler)
    return Use(
        memory=memory_of(cfg),
        offload=bool(cfg.backbone.get("offload", False)),
        size=format_for(cfg).itemsize,
        blocks=ceil(passes.block_backwards / passes.gradients) if passes.gradients else 0,
        batch=2 if plan.sampler.batched_cfg and plan.sampler.cfg_scale != 1 else 1,
        on_cpu=device_for(cfg).type == "cpu",
    )


def predicted(plan: Plan) -> Mapping[str, float] | None:
    """Bytes on the device at the peak of each stage, see :func:`fastvmt.cost.peaks.peaks`; None where not known."""
    weights = weights_of(plan.cfg)
    return None if weights is None else peaks(plan.layout, weights, use_of(plan))


def lighter(use: Use) -> Iterator[Use]:
    """Uses of less memory, from fast to slow."""
    presets = list(Memory)
    for memory in presets[presets.index(use.memory) + 1 :]:
        yield replace(use, memory=memory)
    if not use.on_cpu and not use.offload:
        for memory in presets[max(1, presets.index(use.memory)) :]:
            yield replace(use, memory=memory, offload=True)


def most(layout: Layout, weights: Weights, use: Use) -> tuple[str, float]:
    """The stage that needs most, and its bytes."""
    found = peaks(layout, weights, use) or {"text": 0.0}
    stage = max(found, key=lambda name: found[name])
    return stage, found[stage]


def keys(use: Use, before: Use) -> str:
    """The overrides that make one use of another."""
    changed = [f"backbone.memory={use.memory.value}"] if use.memory is not before.memory else []
    return " ".join([*changed, "backbone.offload=true"] if use.offload and not before.offload else changed)


def mend(layout: Layout, weights: Weights, use: Use, total: int) -> str:
    """What to set so that a run fits ``total`` bytes: a preset, else fewer frames with the lightest one, else sizes."""
    for other in lighter(use):
        if most(layout, weights, other)[1] <= total:
            return f"set {keys(other, use)}"
    lightest = [use, *lighter(use)][-1]
    step = layout.clip.step
    for frames in range(layout.frames - step, step, -step):
        if most(replace(layout, frames=frames), weights, lightest)[1] <= total:
            return f"no preset fits: set {keys(lightest, use)} backbone.frames={frames}".replace("  ", " ")
    return "no preset fits: lower backbone.height and backbone.width, or take a smaller model or a larger device"


def check_fit(plan: Plan, total: int | None = None) -> None:
    """Raise :class:`UserError` for a run whose model needs more than the device has, before weights load.

    ``total`` are the device's bytes, those of this machine's by default. What is predicted is a lower bound, so that a
    run near the limit begins and may run out of memory.
    """
    weights = weights_of(plan.cfg)
    use = use_of(plan)
    if weights is None or plan.layout.block is None:
        return
    device = device_for(plan.cfg)
    total = device_bytes(device) if total is None else total
    stage, needed = most(plan.layout, weights, use)
    if needed > total:
        raise UserError(
            f"backbone.memory={use.memory.value}: {plan.layout.name} needs {needed / GIB:.1f} GiB ({stage}), {device} "
            f"has {total / GIB:.1f}; {mend(plan.layout, weights, use, total)}"
        )
