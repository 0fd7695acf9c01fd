"""An interrupted tuning on disk: parameters and optimiser moments in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.optim import Optimizer

from fastvmt.files import read_tensors, write_tensors
from fastvmt.tuning.adapter import Adapter

ITERATION = "iteration"


def save(path: Path, iteration: int, adapters: Mapping[str, Adapter], optimizers: Mapping[str, Optimizer]) -> None:
    """Write what iteration ``iteration`` would start from."""
    tensors = {ITERATION: torch.tensor(iteration)}
    for group, adapter in adapters.items():
        for name, value in adapter.parameters.items():
            tensors[f"{group}/{name}"] = value
            for kind, moment in optimizers[group].state[value].items():
                tensors[f"{group}/{name}/{kind}"] = moment
    write_tensors(path, tensors)


@torch.no_grad()
def load(path: Path, adapters: Mapping[str, Adapter], optimizers: Mapping[str, Optimizer]) -> int:
    """Restore in place what :func:`save` wrote; returns the iteration to go on with, 0 without a file."""
    stored = read_tensors(path)
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
