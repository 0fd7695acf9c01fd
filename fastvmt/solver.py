"""Solvers: at which noise levels the denoising stops, and how one is reached from the one before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.divergence import check_velocity
from fastvmt.sampling import euler_step
from fastvmt.schedule import shifted
from fastvmt.settings import Sampler

SCHEDULERS = {"unipc": "UniPCMultistepScheduler", "dpmpp": "DPMSolverMultistepScheduler"}
"""diffusers' classes, by ``sampler.name``."""
TIMESTEPS = 1000
"""Of the schedulers; the model is told a noise level in whole ones."""
FIRST = 1 - 1e-6
"""Pure noise, to a scheduler that takes logarithms of the signal's share."""


class Solver:
    """Euler steps: x' = x + (sigma' - sigma) v. They have no history."""

    def told(self, i: int, sigma: float) -> float:
        """The noise level that the model is told in step ``i``, where the latents have ``sigma``."""
        return sigma

    def step(self, i: int, x: Tensor, velocity: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Latents at ``sigma_next``. Raises :class:`fastvmt.divergence.Diverged` as :func:`euler_step` does."""
        return euler_step(x, velocity, sigma, sigma_next)

    def history(self) -> dict[str, Tensor]:
        """What the steps to come depend on beside the latents."""
        return {}

    def go_on(self, step: int, history: Mapping[str, Tensor]) -> None:
        """Be as after ``step`` steps, from what :meth:`history` gave then."""


class Multistep(Solver):
    """A scheduler of diffusers with a history: the clean latents that the models' outputs mean.

    Each is computed from the latents that were denoised. Where guidance moves them between two steps, that is from the
    moved ones, and what the scheduler itself remembers of the latents before (UniPC corrects the last step from there)
    moves along, so that the correction adds to the guidance and does not undo it.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.made: Tensor | None = None
        """What the last step ended in."""

    def told(self, i: int, sigma: float) -> float:
        return int(self.scheduler.timesteps[i]) / TIMESTEPS

    def step(self, i: int, x: Tensor, velocity: Tensor, sigma: float, sigma_next: float) -> Tensor:
        check_velocity(velocity, x)
        last = getattr(self.scheduler, "last_sample", None)
        if last is not None and self.made is not None and x is not self.made:
            before, now = self.scheduler.sigmas[i - 1 : i + 1].tolist()
            self.scheduler.last_sample = last + before / now * (x - self.made)
        made: Tensor = self.scheduler.step(velocity, self.scheduler.timesteps[i], x, return_dict=False)[0]
        self.made = made
        return made

    def history(self) -> dict[str, Tensor]:
        scheduler = self.scheduler
        found = {f"output_{k}": output for k, output in enumerate(scheduler.model_outputs)}
        found |= {"last": getattr(scheduler, "last_sample", None), "made": self.made}
        orders = torch.tensor([scheduler.lower_order_nums, getattr(scheduler, "this_order", 0)])
        return {"orders": orders} | {name: tensor for name, tensor in found.items() if tensor is not None}

    def go_on(self, step: int, history: Mapping[str, Tensor]) -> None:
        scheduler = self.scheduler
        scheduler.set_begin_index(step)
        scheduler.model_outputs = [history.get(f"output_{k}") for k in range(len(scheduler.model_outputs))]
        scheduler.last_sample = history.get("last")
        self.made = history.get("made")
        scheduler.lower_order_nums, scheduler.this_order = history["orders"].tolist()


def solver_of(backbone: Backbone, sampler: Sampler, uses_strength: bool = True) -> tuple[list[float], Solver]:
    """Noise levels from the start of a denoising to 0, and a fresh solver for it.

    Without ``sampler.sigmas`` the levels are the model's and the shift's for Euler steps, else the scheduler's own.
    """
    strength = sampler.strength if uses_strength else 1.0
    if sampler.name not in SCHEDULERS:
        given = [*sampler.sigmas, 0.0] if sampler.sigmas else None
        return given or backbone.sigmas(sampler.steps, sampler.shift, strength), Solver()
    scheduler = scheduler_of(sampler.name, sampler.shift, sampler.steps)
    levels = sampler.sigmas
    if levels is None and strength < 1:
        unshifted = scheduler_of(sampler.name, 1.0, sampler.steps).sigmas.tolist()[:-1]
        levels = [shifted(strength * level, sampler.shift) for level in unshifted]
    if levels is not None:
        scheduler.sigmas = torch.tensor([*(min(level, FIRST) for level in levels), 0.0])
        scheduler.timesteps = torch.tensor([int(TIMESTEPS * level) for level in levels])
    scheduler.set_begin_index(0)
    return scheduler.sigmas.tolist(), Multistep(scheduler)


def scheduler_of(name: str, shift: float, steps: int) -> Any:
    """A scheduler of a flow, set to so many steps."""
    import diffusers  # takes seconds

    scheduler = getattr(diffusers, SCHEDULERS[name])(
        num_train_timesteps=TIMESTEPS, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    scheduler.set_timesteps(steps)
    return scheduler
