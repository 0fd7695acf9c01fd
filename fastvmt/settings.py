"""The numbers of a run: typed, validated, shared by the command line and by Python users.

These dataclasses are at the same time Hydra's schema (a wrong type or an unknown key fails at
composition, naming the key) and plain arguments. Each checks its own ranges; rules that need the
backbone or the video are in :mod:`fastvmt.engine.plan` and in the methods' ``requirements``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum


def check(ok: bool, key: str, value: object, legal: str) -> None:
    """Raise ``ValueError`` that names the key, its value, the legal range and the override."""
    if not ok:
        raise ValueError(f"{key}={value} is out of range: it must be {legal}. Set it with {key}=<value>.")


def check_choice(key: str, value: object, options: Collection[object]) -> None:
    """Raise ``ValueError`` unless the value is one of the options, naming them."""
    check(value in options, key, value, f"one of {', '.join(map(str, options))}")


class HeadReduce(str, Enum):
    """How attention heads become one attention map."""

    mean_qk = "mean_qk"
    """Average queries and keys over heads, then take their product (the paper's code)."""
    mean_logit = "mean_logit"
    """Average the heads' logits: the product of the full-width vectors (DiTFlow)."""


class TileQuery(str, Enum):
    """Which query stands for a tile in the coarse match."""

    centre = "centre"
    mean = "mean"


@dataclass
class Window:
    """Where attention motion flow is computed: FastVMT's sliding windows."""

    l: int = 5  # noqa: E741  the paper's symbol
    """Window side in tokens, odd; 0 computes the dense flow; a window larger than the grid covers it."""
    sf: int = 4
    """Span: flow from frame i to frames i+1 .. i+sf."""
    tile: list[int] = field(default_factory=lambda: [2, 2])
    """Rows and columns of a tile, in tokens; one coarse match per tile."""
    tau: float = 4.0
    """Multiplier of the attention logits; larger is sharper."""
    query: TileQuery = TileQuery.centre
    centre_gradient: bool = True
    """Let the gradient flow through the soft window centre."""

    def __post_init__(self) -> None:
        check(self.l == 0 or (self.l > 0 and self.l % 2 == 1), "window.l", self.l, "0 (dense) or odd and positive")
        check(self.sf >= 1, "window.sf", self.sf, "at least 1")
        ok = len(self.tile) == 2 and all(side >= 1 for side in self.tile)
        check(ok, "window.tile", list(self.tile), "two positive numbers [rows, columns]")
        check(self.tau > 0, "window.tau", self.tau, "above 0")


@dataclass
class Skip:
    """Gradient reuse in the inner optimisation."""

    delta: int = 3
    """The paper's interval: a gradient is computed every delta-th iteration and reused between; 1 is no reuse."""

    def __post_init__(self) -> None:
        check(self.delta >= 1, "skip.delta", self.delta, "at least 1")


@dataclass
class Guidance:
    """The optimisation of the latents during the first denoising steps."""

    fraction: float = 0.3
    """Guided fraction of the denoising steps, in [0, 1]; 0 is plain text-to-video."""
    iterations: int = 6
    """Inner optimiser steps per guided denoising step (J)."""
    lr: float = 0.015
    """Learning rate of the first inner iteration."""
    lr_end: float = 0.015
    """Learning rate that the last inner iteration approaches (linear)."""
    block: int = 4
    """0-based transformer block whose queries and keys carry the motion."""
    amf_weight: float = 5.0
    """Weight of the attention-motion-flow loss (lambda_AMF)."""
    window_weight: float = 0.0
    """Weight of the corresponding-window loss (lambda_window)."""
    alpha: float = 0.2
    """Pairs at the largest distance weigh 1 - alpha."""
    reference_noise: float = 0.2
    """The reference is read at the current noise level, but at most at this one: 0 clean, 1 matched."""
    rope: bool = False
    """Read queries and keys after the rotary embedding."""
    head_reduce: HeadReduce = HeadReduce.mean_logit
    weight_decay: float = 0.0
    """AdamW weight decay of the latents."""
    reference_seed: int = 1234
    """Seed of the reference's noise, apart from the sample's seed."""

    def __post_init__(self) -> None:
        check(0 <= self.fraction <= 1, "guidance.fraction", self.fraction, "in [0, 1]")
        check(self.iterations >= 1, "guidance.iterations", self.iterations, "at least 1")
        check(self.lr > 0, "guidance.lr", self.lr, "above 0")
        check(self.lr_end > 0, "guidance.lr_end", self.lr_end, "above 0")
        check(self.block >= 0, "guidance.block", self.block, "at least 0")
        check(self.amf_weight >= 0, "guidance.amf_weight", self.amf_weight, "at least 0")
        check(self.window_weight >= 0, "guidance.window_weight", self.window_weight, "at least 0")
        check(0 <= self.alpha <= 1, "guidance.alpha", self.alpha, "in [0, 1]")
        check(0 <= self.reference_noise <= 1, "guidance.reference_noise", self.reference_noise, "in [0, 1]")
        check(self.weight_decay >= 0, "guidance.weight_decay", self.weight_decay, "at least 0")


@dataclass
class Sampler:
    """The denoising schedule and classifier-free guidance."""

    steps: int = 20
    """Denoising steps (n)."""
    shift: float = 3.0
    """Timestep shift (m); larger spends more steps at high noise."""
    cfg_scale: float = 4.0
    """Classifier-free guidance scale; 1 runs no negative pass."""
    strength: float = 1.0
    """Noise of the start (rho): 1 is pure noise, below 1 starts from the noised reference."""

    def __post_init__(self) -> None:
        check(self.steps >= 1, "sampler.steps", self.steps, "at least 1")
        check(self.shift > 0, "sampler.shift", self.shift, "above 0")
        check(self.cfg_scale >= 0, "sampler.cfg_scale", self.cfg_scale, "at least 0")
        check(0 < self.strength <= 1, "sampler.strength", self.strength, "in (0, 1]")
