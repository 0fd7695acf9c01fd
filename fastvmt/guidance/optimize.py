"""One guided denoising step: a few AdamW steps on the latents."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fastvmt.guidance.reuse import GradientReuse


def guided_steps(steps: int, fraction: float) -> int:
    """How many of the first denoising steps are guided: ``fraction`` of them, rounded."""
    return int(math.floor(steps * fraction + 0.5))


def learning_rate(iteration: int, iterations: int, start: float, end: float) -> float:
    """Linear from ``start`` towards ``end``, which iteration J would reach (FastVMT's schedule)."""
    return start + (end - start) * iteration / iterations


def optimise(
    latents: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    iterations: int,
    lr: float,
    lr_end: float,
    delta: int,
    weight_decay: float = 0.0,
    dtype: torch.dtype = torch.float32,
    advice: str = "lower guidance.lr or window.tau",
    on_iteration: Callable[[dict[str, float]], None] | None = None,
) -> Tensor:
    """Minimise ``loss`` over latents with a fresh AdamW; every ``delta``-th gradient is real.

    Latents and moments are ``dtype``, which is also that of the result: float32, unless the rounding of
    lower precision is itself of interest.

    The optimiser's moments keep advancing on replayed gradients. Raises ``FloatingPointError`` when
    a gradient is not finite, with ``advice`` on what to change. Returns new latents; the input is untouched.
    """
    x = latents.detach().to(dtype, copy=True).requires_grad_(True)
    optimizer = torch.optim.AdamW([x], lr=lr, weight_decay=weight_decay)
    reuse = GradientReuse(delta)
    last_loss = math.nan

    def gradient() -> Tensor:
        nonlocal last_loss
        with torch.enable_grad():
            value = loss(x)
            (grad,) = torch.autograd.grad(value, x)
        last_loss = float(value.detach())
        return grad

    for iteration in range(iterations):
        grad, reused = reuse(iteration, gradient)
        norm = float(grad.norm())
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"the motion loss {last_loss} has a gradient that is not finite at inner iteration {iteration}; "
                f"{advice}"
            )
        optimizer.param_groups[0]["lr"] = learning_rate(iteration, iterations, lr, lr_end)
        x.grad = grad.clone()
        optimizer.step()
        if on_iteration is not None:
            on_iteration({"iteration": iteration, "loss": last_loss, "grad_norm": norm, "reused": float(reused)})
    return x.detach()
