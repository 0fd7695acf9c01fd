"""The state of a case in progress on disk, in one checksummed safetensors file without pickles."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastvmt.files import DamagedFileError, read_tensors, write_tensors
from fastvmt.methods.state import State
from fastvmt.results.case_record import Identity

log = logging.getLogger(__name__)

VERSION = 1
"""Rises when a state means something else."""
GROUPS = ("learned", "carried", "generators")
TOLD = "told"
"""The tensor that holds the rest, as JSON in UTF-8."""


class StateFile:
    """A state every ``every`` denoising steps in ``path``, for a case of this identity on this number of threads.

    One that is damaged, of another identity or version of the program, torch or format is set aside, with a line in
    the log, and the case starts over.
    """

    def __init__(self, path: Path, identity: Identity, every: int) -> None:
        self.path = path
        self.every = every
        where = {"state": VERSION, "torch": torch.__version__, "threads": torch.get_num_threads()}
        self.key = json.dumps(where | asdict(identity), sort_keys=True)

    def read(self) -> State | None:
        """Read the state; None where there is none that this run may go on from."""
        try:
            stored = read_tensors(self.path, self.key)
            return None if stored is None else decoded(stored)
        except (DamagedFileError, KeyError, TypeError, ValueError):
            aside = self.path.with_name(f"{self.path.name}.aside")
            os.replace(self.path, aside)
            log.warning("%s is damaged or another case's: kept as %s, the case starts over", self.path, aside.name)
            return None

    def write(self, state: State) -> None:
        """Write a state in place of the one before."""
        write_tensors(self.path, encoded(state), self.key)


def encoded(state: State) -> dict[str, Tensor]:
    """A state as named tensors; numbers go through JSON, which keeps every bit of a float."""
    tensors = {"latents": state.latents}
    for group in GROUPS:  # cloned: a file takes no two names for the same memory
        tensors |= {f"{group}/{name}": tensor.clone() for name, tensor in getattr(state, group).items()}
    plain = {name: getattr(state, name) for name in ("step", "trace", "passes", "seconds", "wall", "charged")}
    return tensors | {TOLD: torch.frombuffer(bytearray(json.dumps(plain).encode()), dtype=torch.uint8)}


def decoded(tensors: dict[str, Tensor]) -> State:
    """What :func:`encoded` gave. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
    groups: dict[str, Any] = {group: {} for group in GROUPS}
    for name, tensor in tensors.items():
        group, _, own = name.partition("/")
        if own:
            groups[group][own] = tensor
    plain = json.loads(tensors[TOLD].numpy().tobytes())
    return State(latents=tensors["latents"], **groups, **plain)
