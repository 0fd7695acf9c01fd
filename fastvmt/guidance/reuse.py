"""Gradient reuse: FastVMT's answer to gradient redundancy."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class GradientReuse:
    """Compute a gradient every ``delta``-th iteration, at least every one, and replay it in between.

    One instance serves one denoising step: iteration 0 always computes. ``delta=1`` never replays.
    """

    def __init__(self, delta: int) -> None:
        self.delta = delta
        self._gradient: Tensor | None = None

    def __call__(self, iteration: int, compute: Callable[[], Tensor]) -> tuple[Tensor, bool]:
        """Return the gradient for ``iteration`` and whether it was replayed."""
        if self._gradient is None or iteration % self.delta == 0:
            self._gradient = compute()
            return self._gradient, False
        return self._gradient, True
