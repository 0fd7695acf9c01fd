"""The tuning loop that the tuned methods share."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW, Optimizer

from fastvmt.backbones.base import Backbone
from fastvmt.backbones.block import Block
from fastvmt.divergence import Diverged, Divergence, check_finite, diverging_at
from fastvmt.settings import LARGEST_COUNT, LARGEST_STEP, LARGEST_WEIGHT, check_optimisation, check_range, check_seed
from fastvmt.tuning.adapter import Adapter
from fastvmt.tuning.checkpoint import TuningCheckpoint
from fastvmt.tuning.draw import Draw, draw

Phases = Generator[tuple[str, Tensor], None, None]
"""The losses of one iteration, each with the adapter whose parameters, and no others, take a step on it.

The next loss is computed after that step. Adapters must stay installed while a loss is out: its
backward may run the blocks again (gradient checkpointing).
"""
Losses = Callable[[Draw], Phases]
BEFORE_DENOISING = -1
"""The ``step`` of a tuning iteration's trace row."""


@dataclass(frozen=True)
class Tuning:
    """How long, how fast and from which seed."""

    iterations: int
    lr: float
    """Constant learning rate of AdamW."""
    shift: float
    """Timestep shift of the noise levels."""
    weight_decay: float = 0.01
    beta2: float = 0.999
    clip: float = 0.0
    """Largest gradient norm; 0 does not clip."""
    seed: int = 0
    checkpoint_every: int = 50
    """Iterations between checkpoints, from which a stopped tuning goes on."""

    def __post_init__(self) -> None:
        group = "method.tuning"
        check_optimisation(group, iterations=self.iterations, weight_decay=self.weight_decay, lr=self.lr)
        check_range(f"{group}.shift", self.shift, 0, LARGEST_STEP, above=True)
        check_range(f"{group}.beta2", self.beta2, 0, 1, below=True)
        check_range(f"{group}.clip", self.clip, 0, LARGEST_WEIGHT)
        check_seed(f"{group}.seed", self.seed)
        check_range(f"{group}.checkpoint_every", self.checkpoint_every, 1, LARGEST_COUNT)

    def identity(self) -> dict[str, float]:
        """What the tuned parameters depend on."""
        return {key: value for key, value in asdict(self).items() if key != "checkpoint_every"}

    def optimizer(self, adapter: Adapter) -> Optimizer:
        return AdamW(
            list(adapter.parameters.values()), lr=self.lr, betas=(0.9, self.beta2), weight_decay=self.weight_decay
        )

    def draws(self, least: float = 0.0) -> list[Draw]:
        """The choices of every iteration, at noise levels from ``least`` on."""
        return [draw(self.seed, iteration, self.shift, least) for iteration in range(self.iterations)]


@contextmanager
def counted_backwards(backbone: Backbone) -> Iterator[None]:
    """Within the context ``backbone.passes`` counts the blocks through which gradients flow."""

    _, height, width = backbone.layout.grid

    def backward(grad: Tensor) -> None:
        backbone.passes.block_backwards += 1
        backbone.passes.image_backwards += grad.shape[1] == height * width

    def counting(block: Block) -> Callable[[object, object, Any], None]:
        def forward(_module: object, _args: object, output: Any) -> None:
            hidden = block.hidden_of(output)
            if hidden.requires_grad:
                hidden.register_hook(backward)

        return forward

    handles = [block.module.register_forward_hook(counting(block)) for block in backbone.adapted_blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's global generators from ``seed`` inside, untouched outside: what dropout draws from."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def iterate(
    backbone: Backbone,
    adapters: Mapping[str, Adapter],
    optimizers: Mapping[str, Optimizer],
    phases: Phases,
    clip: float,
) -> tuple[float, float]:
    """One iteration; the loss and gradient norm of its last phase. Raises :class:`fastvmt.divergence.Diverged`."""
    last = math.nan, math.nan
    with closing(phases):
        for group, loss in phases:
            parameters = list(adapters[group].parameters.values())
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
            backbone.passes.gradients += 1
            last = float(loss.detach()), float(clip_grad_norm_(parameters, clip or math.inf))
            if not math.isfinite(sum(last)):
                what = f"the tuning loss or its gradient, of norm {last[1]:.4g}, are not finite"
                raise Diverged(Divergence(what, "lower method.tuning.lr", loss=last[0]))
            optimizers[group].step()
            optimizers[group].zero_grad()
    return last


def tune(
    backbone: Backbone,
    adapters: Mapping[str, Adapter],
    losses: Losses,
    tuning: Tuning,
    *,
    kept: TuningCheckpoint | None = None,
    on_iteration: Callable[[dict[str, float]], None] | None = None,
) -> None:
    """Minimise ``losses`` over the adapters' parameters, in place.

    Of two experts only the one in charge of high noise is tuned, at its own levels: the motion is settled there.
    Iterations depend on nothing but parameters, moments and their own draw: a tuning that goes on
    from ``kept``, written every ``checkpoint_every`` iterations, ends in the same parameters.
    Raises :class:`fastvmt.divergence.Diverged` when a loss, a gradient or what was learned is not finite.
    """
    optimizers = {group: tuning.optimizer(adapter) for group, adapter in adapters.items()}
    done = 0 if kept is None else kept.load(adapters, optimizers)
    with torch.enable_grad(), counted_backwards(backbone):
        for choices in tuning.draws(backbone.layout.boundary or 0.0)[done:]:
            with seeded(choices.seed, backbone.device), diverging_at(iteration=choices.iteration):
                loss, norm = iterate(backbone, adapters, optimizers, losses(choices), tuning.clip)
            if on_iteration is not None:
                row = {"iteration": choices.iteration, "loss": loss, "grad_norm": norm, "reused": 0.0}
                on_iteration({"step": BEFORE_DENOISING, "sigma": choices.sigma} | row)
            done = choices.iteration + 1
            if kept is not None and done % tuning.checkpoint_every == 0 and done < tuning.iterations:
                kept.save(done, adapters, optimizers)
    for adapter in adapters.values():
        for name, tensor in adapter.parameters.items():
            check_finite(f"the tuned parameters {name}", tensor, "lower method.tuning.lr")
