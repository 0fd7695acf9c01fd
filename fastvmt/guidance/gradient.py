"""A gradient of the latents with its loss, and what the trace says of a case's gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor | Mapping[str, Tensor]]
"""A scalar of the latents, or the named terms whose sum it is."""


@dataclass(frozen=True)
class Gradient:
    """A loss and its gradient at some latents, all tensors: nothing waits for the device."""

    loss: Tensor
    value: Tensor
    """The gradient, of the latents' shape."""
    norms: Mapping[str, Tensor] = field(default_factory=dict)
    """Norms of the gradients of the loss' terms by name, where asked for."""


def total(terms: Tensor | Mapping[str, Tensor]) -> Tensor:
    """The sum of a loss' terms, in their order."""
    if isinstance(terms, Tensor):
        return terms
    first, *others = terms.values()
    return sum(others, first)


def gradient_at(leaf: Tensor, terms: Tensor | Mapping[str, Tensor], *, of_terms: bool = False) -> Gradient:
    """The gradient of ``terms``' sum, computed from ``leaf``.

    ``of_terms`` also takes the norms of the terms' own gradients: one more backward pass for each of several terms
    that depend on the latents. (The last as what the others leave of the sum would be lost in rounding where it is
    small.) The gradient itself stays the same bit for bit.
    """
    loss = total(terms)
    named = dict(terms) if of_terms and not isinstance(terms, Tensor) else {}
    moving = [name for name, term in named.items() if term.requires_grad]
    if len(moving) < 2:
        (value,) = torch.autograd.grad(loss, leaf)
        return Gradient(loss.detach(), value, {name: value.norm() for name in moving})
    (value,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    norms = {}
    for name in moving:
        (own,) = torch.autograd.grad(named[name], leaf, retain_graph=name != moving[-1])
        norms[name] = own.norm()
    return Gradient(loss.detach(), value, norms)


def gradient_of(loss: Loss, *, of_terms: bool = False) -> Callable[[Tensor], Gradient]:
    """The function that takes the gradient of ``loss`` at latents, also inside ``no_grad``."""

    def gradient(x: Tensor) -> Gradient:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(True)
            return gradient_at(leaf, loss(leaf), of_terms=of_terms)

    return gradient


@dataclass
class GradientLog:
    """What is told of a case's gradients: kept as tensors, read once per denoising step.

    ``cosine`` of a row is that between its gradient and the case's last computed one before it, be it of the same
    denoising step or of the one before.
    """

    last: Tensor | None = None
    """The last computed gradient."""
    waiting: list[dict[str, Any]] = field(default_factory=list)
    """Rows whose numbers have not been read."""

    def add(self, iteration: int, gradient: Gradient, used: Tensor, reused: bool) -> None:
        """Keep what is told of an iteration that moved the latents by ``used``."""
        row = {"iteration": iteration, "loss": gradient.loss, "grad_norm": used.norm(), "reused": float(reused)}
        if not reused:
            row |= {f"grad_norm_{name}": norm for name, norm in gradient.norms.items()}
            if self.last is not None:
                row["cosine"] = torch.cosine_similarity(self.last.flatten().float(), used.flatten().float(), dim=0)
            self.last = used
        self.waiting.append(row)

    def read(self) -> list[dict[str, float]]:
        """The waiting rows as numbers: the only wait for the device."""
        rows, self.waiting = self.waiting, []
        tensors = [value.float() for row in rows for value in row.values() if isinstance(value, Tensor)]
        numbers = iter(torch.stack(tensors).tolist() if tensors else [])
        return [{k: next(numbers) if isinstance(v, Tensor) else v for k, v in row.items()} for row in rows]
