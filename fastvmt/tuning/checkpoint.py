"""An interrupted tuning on disk: parameters and optimiser moments as an entry of the cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from fastvmt.cache import TensorCache
from fastvmt.tuning.adapter import Adapter

ITERATION = "iteration"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuningCheckpoint:
    """Where an interrupted tuning is kept."""

    cache: TensorCache
    key: str

    def save(self, iteration: int, adapters: Mapping[str, Adapter], optimizers: Mapping[str, Optimizer]) -> None:
        """Write what iteration ``iteration`` would start from."""
        tensors = {ITERATION: torch.tensor(iteration)}
        for group, adapter in adapters.items():
            for name, value in adapter.parameters.items():
                tensors[f"{group}/{name}"] = value
                for kind, moment in optimizers[group].state[value].items():
                    tensors[f"{group}/{name}/{kind}"] = moment
        self.cache.keep(self.key, tensors)

    @torch.no_grad()
    def load(self, adapters: Mapping[str, Adapter], optimizers: Mapping[str, Optimizer]) -> int:
        """Restore in place what :meth:`save` wrote; returns the iteration to go on with.

        It is 0 without an entry, and with one of other parameters, which is told.
        """
        stored = self.cache.read(self.key)
        if stored is None:
            return 0
        if wrong := differing(stored, adapters):
            log.warning("the interrupted tuning %s has another %s: it begins anew", self.key, wrong)
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


def differing(stored: Mapping[str, Tensor], adapters: Mapping[str, Adapter]) -> str | None:
    """Name the first parameter that is stored with another shape or type, or not at all."""
    for group, adapter in adapters.items():
        for name, value in adapter.parameters.items():
            found = stored.get(f"{group}/{name}")
            if found is None or found.shape != value.shape or found.dtype != value.dtype:
                return f"{group}/{name}"
    return None if ITERATION in stored else ITERATION
