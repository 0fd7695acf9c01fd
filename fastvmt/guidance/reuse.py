"""Gradient reuse: FastVMT's answer to gradient redundancy (arXiv 2602.05551)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fastvmt.guidance.gradient import Gradient
from fastvmt.settings import Predict


class GradientReuse:
    """Compute a gradient every ``delta``-th iteration, at least every one, and replay or extrapolate it in between.

    With ``predict=linear`` the iterations after the second computed gradient continue the line through the last two;
    before it the first is replayed. One instance serves one denoising step: iteration 0 always computes. ``delta=1``
    computes all.
    """

    def __init__(self, delta: int, predict: Predict = Predict.hold) -> None:
        self.delta = delta
        self.predict = predict
        self.slope: Tensor | None = None
        """Change of the gradient per iteration, between the last two computed ones."""
        self.last: Gradient | None = None

    def __call__(self, iteration: int, compute: Callable[[], Gradient]) -> tuple[Gradient, Tensor, bool]:
        """The last computed gradient, the one for ``iteration``, and whether that was not computed."""
        # FastVMT, Sec. 3.4: g_j = grad L(x_j) where j mod Delta = 0, else the last one
        since = iteration % self.delta
        if self.last is None or since == 0:
            before, self.last = self.last, compute()
            if before is not None and self.predict is Predict.linear:
                self.slope = (self.last.value - before.value) / self.delta
            return self.last, self.last.value, False
        value = self.last.value
        return self.last, value if self.slope is None else value + since * self.slope, True
