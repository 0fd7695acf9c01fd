"""An interrupted tuning on disk: parameters and optimiser moments in one safetensors file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from fastvmt.tuning.adapter import Adapter

ITERATION = "iteration"


def save(path: Path, iteration: int, adapters: Mapping[str, Adapter], optimizers: Mapping[str, Optimizer]) -> None:
    """Write what iteration ``iteration`` would start from, through a temporary file."""
    tensors = {ITERATION: torch.tensor(iteration)}
    for group, adapter in adapters.items():
        for name, value in adapter.parameters.items():
            tensors[f"{group}/{name}"] = value
            for kind, moment in optimizers[group].state[value].items():
                tensors[f"{group}/{name}/{kind}"] = moment
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)
    os.replace(partial, path)


def read(path: Path) -> dict[str, Tensor] | None:
    """The stored tensors; None where there is no readable file."""
    if not path.exists():
        return None
    try:
        return load_file(path)
    except (SafetensorError, OSError):
        path.unlink(missing_ok=True)  # cut short by a full disk or a kill: start again
        return None


@torch.no_grad()
def load(path: Path, adapters: Mapping[str, Adapter], optimizers: Mapping[str, Optimizer]) -> int:
    """Restore in place what :func:`save` wrote; returns the iteration to go on with, 0 without a file."""
    stored = read(path)
    if stored is None:
        return 0
    for group, adapter in adapters.items():
        for name, value in adapter.parameters.items():
            start = f"{group}/{name}"
            value.copy_(stored[start])
            moments = {key.removeprefix(f"{start}/"): t for key, t in stored.items() if key.startswith(f"{start}/")}
            optimizers[group].state[value] = {  # the step count stays on the CPU, as torch keeps it
                kind: moment if kind == "step" else moment.to(value.device) for kind, moment in moments.items()
            }
    return int(stored[ITERATION])
