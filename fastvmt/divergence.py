"""When the numbers of a case leave their range: how it is found, and what is then known of it.

NaN and infinity are looked for where they arise. Latents are held against the norm that flow matching expects at
their noise level, losses against the first of their case. The limits were chosen by what
``python -m experiments.probes.divergence benchmark.cases=2 sampler.steps=5`` prints for tiny-wan: the largest norm over
the expected one is 1.7 for fastvmt and 1.5 for motionclone as they are, 1.7 and 2.7 at ten times their rate or weight,
7.7 and 15 at a hundred times. On random weights, whose every video is noise, motionclone reaches 4.8 in
tests/test_golden.py and, with tiny-wan's weight on the methods' contract, 6.4, which ends it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

EMBEDDING = "the text encoder's weights, or their precision (backbone.dtype=float32)"
FEATURES = "the transformer's weights, or their precision (backbone.dtype=float32)"
"""Likely causes of numbers that are not finite."""
LARGEST_NORM = 6.0
"""Latents whose root mean square is this many times what their noise level expects have left the model's range."""
LARGEST_GROWTH = 1e3
"""So many times the largest loss of a case's first iterations is no progress any more."""
FIRST = 10
"""Iterations whose largest loss others are held against: losses of a tuning depend on the noise level drawn."""


@dataclass(frozen=True)
class Divergence:
    """What is known of a case that ended because of its numbers, as its record holds it."""

    what: str
    """What left its range."""
    cause: str
    """The likely cause, and what to do."""
    step: int | None = None
    """Denoising step, from 0; None before, while tuning, and afterwards."""
    iteration: int | None = None
    """Inner or tuning iteration."""
    loss: float | None = None
    """The last one computed; NaN, in files null, if that is what it was."""
    norm: float | None = None
    """Root mean square of the latents; about 1 in a healthy run."""

    def __str__(self) -> str:
        """Say it in one line."""
        places = (("step", self.step), ("iteration", self.iteration), ("loss", self.loss), ("latents' norm", self.norm))
        told = [f"{name} {value:.4g}" for name, value in places if value is not None]
        return f"{self.what} ({', '.join(told)}): {self.cause}" if told else f"{self.what}: {self.cause}"


class Diverged(FloatingPointError):
    """A case, named if it is known, ended because of its numbers."""

    def __init__(self, found: Divergence, case: str = "") -> None:
        super().__init__(f"{case}: {found}" if case else str(found))
        self.found = found


@contextmanager
def diverging_at(**known: float | None) -> Iterator[None]:
    """Within the context, a :class:`Diverged` gets those fields that it does not know: ``step=3``, say."""
    try:
        yield
    except Diverged as error:
        missing = {name: value for name, value in known.items() if getattr(error.found, name) is None}
        raise Diverged(replace(error.found, **missing)) from error  # type: ignore[arg-type]


def check_finite(what: str, values: Tensor, cause: str) -> None:
    """Raise :class:`Diverged` for NaN or infinity among ``values``. Waits for the device once."""
    if not bool(torch.isfinite(values).all()):
        raise Diverged(Divergence(f"{what} are not finite", cause))


def check_velocity(velocity: Tensor, x: Tensor) -> None:
    """Raise :class:`Diverged` for a velocity of latents ``x`` that is not finite."""
    cause = (
        "the transformer's weights or their precision (backbone.dtype=float32); if the norm is large, the step before"
    )
    with diverging_at(norm=None if bool(torch.isfinite(velocity).all()) else rms(x)):
        check_finite("the model's velocity", velocity, cause)


def rms(x: Tensor) -> float:
    """Root mean square. Waits for the device."""
    return float(x.detach().float().square().mean().sqrt())


def expected_rms(sigma: float, clean: float) -> float:
    """Of latents at a noise level whose clean ones have ``clean``: sqrt((1 - sigma)^2 clean^2 + sigma^2).

    Clean ones count as 1 at least, as latents are normalised to: a plain clip's are smaller, but what is generated from
    it need not be plain.
    """
    return math.hypot((1 - sigma) * max(1.0, clean), sigma)


def check_latents(x: Tensor, sigma: float, clean: float) -> None:
    """Raise :class:`Diverged` for latents at ``sigma`` that are not finite, or far larger than the schedule's."""
    norm, expected = rms(x), expected_rms(sigma, clean)
    if not norm <= LARGEST_NORM * expected:
        what = f"the latents have left the schedule, which expects a norm of {expected:.3g}"
        cause = (
            "lower the method's learning rate or weight (guidance.lr, method.lr, method.weight) or sampler.cfg_scale"
        )
        raise Diverged(Divergence(what, cause, norm=norm))


def check_loss(row: Mapping[str, float], before: Sequence[Mapping[str, float]]) -> None:
    """Raise :class:`Diverged` for a row of a trace whose loss has grown beyond those at the beginning of ``before``.

    Tuning and guidance have losses of their own: only rows of the same are held against each other.
    """
    tuning = row["step"] < 0
    first = [known["loss"] for known in before if (known["step"] < 0) == tuning][:FIRST]
    if len(first) == FIRST and row["loss"] > LARGEST_GROWTH * max(first) > 0:
        what = f"the {'tuning' if tuning else 'motion'} loss has grown {row['loss'] / max(first):.3g} times"
        cause = f"lower {'method.tuning.lr' if tuning else 'the learning rate (guidance.lr, method.lr)'}"
        raise Diverged(Divergence(what, cause, iteration=int(row["iteration"]), loss=row["loss"]))
