"""A case between two denoising steps: taken from a job, and put into the job of a process that goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from fastvmt.methods.job import Job, Trace
from fastvmt.types import PassCounter

LAST = "last"
DIFFERENCE = "difference"
SOLVER = "solver_"


@dataclass(frozen=True)
class State:
    """All that the steps to come depend on, and what the steps so far have told and cost."""

    step: int
    """Denoising steps that are done."""
    latents: Tensor
    """After them, float32."""
    learned: dict[str, Tensor]
    carried: dict[str, Tensor]
    """From step to step: the ``last`` computed gradient and the ``difference`` of the last negative pass, if any, and
    the solver's history."""
    generators: dict[str, Tensor]
    """States of torch's global generators by device, uint8."""
    trace: Trace
    passes: dict[str, int]
    seconds: dict[str, float]
    wall: dict[str, float] = field(default_factory=dict)
    charged: dict[str, float] = field(default_factory=dict)
    """What readings found in the cache had taken, by key."""


class Checkpoint(Protocol):
    """Where the state of a case is kept."""

    every: int
    """Denoising steps between two states."""

    def read(self) -> State | None:
        """The state to go on from; None without a usable one."""

    def write(self, state: State) -> None:
        """Keep a state in place of the one before."""


def state_of(job: Job, step: int, latents: Tensor) -> State:
    """The state of a job after ``step`` denoising steps that have ended in ``latents``."""
    carried = {LAST: job.gradients.last, DIFFERENCE: job.classifier_free.difference}
    carried |= {f"{SOLVER}{name}": tensor for name, tensor in job.solver.history().items()}
    generators = {"cpu": torch.get_rng_state()}
    if latents.device.type == "cuda":
        generators["cuda"] = torch.cuda.get_rng_state(latents.device)
    return State(
        step,
        latents,
        dict(job.learned),
        {name: tensor for name, tensor in carried.items() if tensor is not None},
        generators,
        list(job.trace),
        dict(vars(job.backbone.passes)),
        job.watch.seconds,
        dict(job.watch.wall),
        dict(job.watch.charged),
    )


def restore(job: Job, state: State) -> None:
    """Put a job, whose method is prepared, where :func:`state_of` took the state."""
    device = job.reference.device
    carried = {name: tensor.to(device) for name, tensor in state.carried.items()}
    job.gradients.last = carried.get(LAST)
    job.classifier_free.difference = carried.get(DIFFERENCE)
    history = {name.removeprefix(SOLVER): each for name, each in carried.items() if name.startswith(SOLVER)}
    job.solver.go_on(state.step, history)
    job.learned.update(state.learned)
    job.trace[:] = state.trace
    job.backbone.passes = PassCounter(**state.passes)
    job.watch.go_on(state.seconds, state.wall, state.charged)
    torch.set_rng_state(state.generators["cpu"])
    if "cuda" in state.generators:
        torch.cuda.set_rng_state(state.generators["cuda"], device)
