"""The numbers of a run: typed, validated, shared by the command line and by Python users.

These dataclasses are at the same time Hydra's schema (a wrong type or an unknown key fails at
composition, naming the key) and plain arguments. Their defaults are the numbers of FastVMT's paper
(arXiv 2602.05551) for Wan2.1-1.3B, or of its released code where the paper is silent; what another
model needs is in ``conf/preset``. Each checks its own ranges; rules that need the backbone or the
video are in :mod:`fastvmt.engine.plan` and in the methods' ``requirements``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise

LARGEST_STEP = 1e3
"""Learning rates, multipliers and scales beyond this one are typing errors."""
LARGEST_COUNT = 10_000
"""Steps and iterations."""
LARGEST_SIDE = 16_384
"""Of a frame, pixels."""
LARGEST_RATE = 1000
"""Frames per second."""
LARGEST_SEED = 2**32 - 1
LARGEST_WEIGHT = 1e6
"""Of a loss, and of a gradient."""
SOURCES = ("reading", "pass")
SOLVERS = ("euler", "unipc", "dpmpp")


def check(ok: bool, key: str, value: object, legal: str) -> None:
    """Raise ``ValueError`` that names the key, its value, the legal range and the override."""
    if not ok:
        raise ValueError(f"{key}={value} is out of range: it must be {legal}. Set it with {key}=<value>.")


def check_range(key: str, value: float, low: float, high: float, *, above: bool = False, below: bool = False) -> None:
    """Raise ``ValueError`` unless ``value`` lies in [low, high], as NaN never does.

    ``above`` and ``below`` leave the lower and the upper end out.
    """
    ok = (low < value if above else low <= value) and (value < high if below else value <= high)
    check(ok, key, value, f"in {'(' if above else '['}{low}, {high}{')' if below else ']'}")


def is_rate(value: float) -> bool:
    """Whether a number may be frames per second."""
    return 0 < value <= LARGEST_RATE


def check_rate(key: str, value: float) -> None:
    """Raise ``ValueError`` for frames per second that cannot be."""
    check(is_rate(value), key, value, f"in (0, {LARGEST_RATE}]")


def check_seed(key: str, value: float) -> None:
    """Raise ``ValueError`` for a seed that cannot be."""
    check_range(key, value, 0, LARGEST_SEED)


def check_optimisation(
    group: str, *, iterations: int, weight_decay: float, fraction: float = 1.0, **rates: float
) -> None:
    """Raise ``ValueError`` for a number of an optimisation out of its range, naming its key ``<group>.<name>``.

    ``fraction`` is the guided share of the denoising steps, ``rates`` are learning rates by name.
    """
    check_range(f"{group}.fraction", fraction, 0, 1)
    check_range(f"{group}.iterations", iterations, 1, LARGEST_COUNT)
    for name, rate in rates.items():
        check_range(f"{group}.{name}", rate, 0, LARGEST_STEP, above=True)
    check_range(f"{group}.weight_decay", weight_decay, 0, LARGEST_STEP)


def check_scored_frames(frames: int, count: int | None = None, video: str = "") -> None:
    """Raise ``ValueError`` unless ``metrics.frames`` is at least 2, and at most the ``count`` that ``video`` has."""
    among = "at least 2" if count is None else f"in [2, {count}], as many as {video} has"
    fits = frames >= 2 and (count is None or frames <= count)
    check(fits, "metrics.frames", frames, f"null for all frames, or {among}")


def check_choice(key: str, value: object, options: Collection[object]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``options``, which are named as they are spelt in yaml."""
    words = [str(option).lower() if isinstance(option, bool) else str(option) for option in options]
    check(value in options, key, value, f"one of {', '.join(words)}")


class HeadReduce(str, Enum):
    """How attention heads become one attention map."""

    mean_qk = "mean_qk"
    """Average queries and keys over heads, then take their product (what the paper says; the fork of its code does)."""
    mean_logit = "mean_logit"
    """Average the heads' logits: the product of the full-width vectors (DiTFlow)."""


class Reduction(str, Enum):
    """How the motion loss of a frame's tokens becomes one number: the balance with the window loss."""

    mean = "mean"
    """Mean over tokens: the weights of both losses mean the same at every resolution."""
    sum = "sum"
    """Sum over tokens (the released code): the window loss is left next to no say."""


class TileQuery(str, Enum):
    """Which query stands for a tile in the coarse match."""

    centre = "centre"
    mean = "mean"


@dataclass
class Window:
    """Where attention motion flow is computed: FastVMT's sliding windows.

    ``l`` and ``sf`` are the paper's, the other defaults, of which it says nothing, the released code's.
    """

    l: int = 21  # noqa: E741  the paper's symbol
    """Window side in tokens, odd; 0 computes the dense flow; a window larger than the grid covers it."""
    sf: int = 4
    """Span: flow from frame i to frames i+1 .. i+sf."""
    tile: list[int] = field(default_factory=lambda: [3, 4])
    """Rows and columns of a tile, in tokens; one coarse match per tile."""
    tau: float = 1.0
    """Multiplier of the attention logits; larger is sharper."""
    query: TileQuery = TileQuery.centre
    centre_gradient: bool = False
    """Let the gradient flow through the soft window centre."""

    def __post_init__(self) -> None:
        ok = self.l == 0 or (self.l % 2 == 1 and 0 < self.l < LARGEST_COUNT)
        check(ok, "window.l", self.l, f"0 (dense) or odd and in [1, {LARGEST_COUNT - 1}]")
        check_range("window.sf", self.sf, 1, LARGEST_COUNT)
        ok = len(self.tile) == 2 and all(1 <= side <= LARGEST_COUNT for side in self.tile)
        check(ok, "window.tile", list(self.tile), f"two numbers [rows, columns] in [1, {LARGEST_COUNT}]")
        check_range("window.tau", self.tau, 0, LARGEST_STEP, above=True)


class Memory(str, Enum):
    """What is kept in memory, from most to least; values and gradients are the same."""

    fast = "fast"
    """All that autograd wants: nothing is computed twice."""
    balanced = "balanced"
    """Of a block its attentions and costly linear layers; norms, modulation and cheap products are computed again."""
    low = "low"
    """Of a block its input, and frames are decoded in tiles: their seams may differ in the last levels."""


class Predict(str, Enum):
    """What stands for a gradient between two that are computed."""

    hold = "hold"
    """The last computed one (the paper)."""
    linear = "linear"
    """The line through the last two of the same denoising step; the last while there is only one."""


@dataclass
class Skip:
    """Gradient reuse in the inner optimisation."""

    delta: int = 3
    """The paper's interval: a gradient is computed every delta-th iteration and reused between; 1 is no reuse."""
    predict: Predict = Predict.hold

    def __post_init__(self) -> None:
        check_range("skip.delta", self.delta, 1, LARGEST_COUNT)


@dataclass
class Guidance:
    """The optimisation of the latents during the first denoising steps."""

    fraction: float = 0.2
    """Guided fraction of the denoising steps, in [0, 1]; 0 is plain text-to-video."""
    iterations: int = 10
    """Inner optimiser steps per guided denoising step (J)."""
    lr: float = 0.003
    """Learning rate of the first inner iteration."""
    lr_end: float = 0.002
    """Learning rate that the last inner iteration approaches (linear)."""
    block: int = 14
    """0-based transformer block whose queries and keys carry the motion: the paper's block 15."""
    amf_weight: float = 5.0
    """Weight of the attention-motion-flow loss (lambda_AMF)."""
    window_weight: float = 1.0
    """Weight of the corresponding-window loss (lambda_window)."""
    reduction: Reduction = Reduction.sum
    """Of the motion loss over tokens; the paper is silent, the released code sums."""
    source: str = SOURCES[0]
    """Where gradients come from. reading: passes of their own up to the block, before the latents are denoised (the
    paper). pass: the pass with the prompt that denoises them; all inner iterations replay its one gradient."""
    diagnostics: bool = False
    """Also take the norms of both losses' own gradients, which costs two more backward passes per gradient."""
    alpha: float = 0.2
    """Pairs at the largest distance weigh 1 - alpha."""
    reference_noise: float = 1.0
    """The reference is read at the current noise level, but at most at this one: 0 clean, 1 matched (released code)."""
    rope: bool = True
    """Read queries and keys after the rotary embedding (released code)."""
    head_reduce: HeadReduce = HeadReduce.mean_qk
    weight_decay: float = 0.01
    """AdamW weight decay of the latents (torch's default, released code)."""
    reference_seed: int = 1234
    """Seed of the reference's noise, apart from the sample's seed (ours)."""

    def __post_init__(self) -> None:
        check_optimisation(
            "guidance",
            iterations=self.iterations,
            weight_decay=self.weight_decay,
            fraction=self.fraction,
            lr=self.lr,
            lr_end=self.lr_end,
        )
        check_range("guidance.block", self.block, 0, LARGEST_COUNT)
        check_range("guidance.amf_weight", self.amf_weight, 0, LARGEST_WEIGHT)
        check_range("guidance.window_weight", self.window_weight, 0, LARGEST_WEIGHT)
        check_choice("guidance.source", self.source, SOURCES)
        check_range("guidance.alpha", self.alpha, 0, 1)
        check_range("guidance.reference_noise", self.reference_noise, 0, 1)
        check_seed("guidance.reference_seed", self.reference_seed)


@dataclass
class Sampler:
    """The denoising schedule and classifier-free guidance."""

    name: str = SOLVERS[0]
    """euler (the papers), or a multistep solver by diffusers' scheduler: unipc (Wan's own), dpmpp."""
    steps: int = 50
    """Denoising steps (n)."""
    shift: float = 7.0
    """Timestep shift (m); larger spends more steps at high noise (released code)."""
    sigmas: list[float] | None = None
    """Noise levels given outright, falling, the closing 0 left out; they set ``steps``, and ``shift`` has no say.
    None: those of ``shift``. For checkpoints distilled to few steps, which know no other levels."""
    cfg_scale: float = 5.8
    """Classifier-free guidance scale; 1 runs no negative pass."""
    cfg_scale_2: float | None = None
    """That of the low-noise expert, for a model of two (Wan2.2-T2V-A14B); None: the same. No negative pass, with
    ``cfg_scale`` 1, is none of either."""
    strength: float = 1.0
    """Noise of the start (rho): 1 is pure noise, below 1 starts from the noised reference."""
    negative_every: int = 1
    """The negative pass runs in every so many-th step; in between its difference to the positive one is kept."""
    batched_cfg: bool = False
    """Both passes of a step in one batch of two, where neither gives a gradient; the same to rounding."""

    def __post_init__(self) -> None:
        check_choice("sampler.name", self.name, SOLVERS)
        if self.sigmas is not None:
            levels = [*self.sigmas, 0.0]
            falling = all(a > b for a, b in pairwise(levels)) and 0 < levels[0] <= 1
            legal = "falling noise levels in (0, 1]; the closing 0 is added"
            check(falling and len(levels) <= LARGEST_COUNT, "sampler.sigmas", list(self.sigmas), legal)
            check(self.strength == 1, "sampler.strength", self.strength, "1 with sampler.sigmas, which say the start")
            self.steps = len(self.sigmas)
        check_range("sampler.steps", self.steps, 1, LARGEST_COUNT)
        check_range("sampler.shift", self.shift, 1 / LARGEST_STEP, LARGEST_STEP)
        check_range("sampler.cfg_scale", self.cfg_scale, 0, LARGEST_STEP)
        if self.cfg_scale_2 is not None:
            check_range("sampler.cfg_scale_2", self.cfg_scale_2, 0, LARGEST_STEP)
        check_range("sampler.strength", self.strength, 0, 1, above=True)
        check_range("sampler.negative_every", self.negative_every, 1, LARGEST_COUNT)

    def negative_at(self, i: int) -> bool:
        """Whether a negative pass runs in step ``i``."""
        return self.cfg_scale != 1 and i % self.negative_every == 0
