"""The inner optimisation against plain torch loops, and the arithmetic of reuse."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fastvmt.guidance.optimize import guided_steps, learning_rate, optimise
from fastvmt.guidance.reuse import GradientReuse


def start(seed: int = 0) -> Tensor:
    return torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def curved(x: Tensor) -> Tensor:
    """A loss whose gradient changes from iteration to iteration."""
    return ((x - 0.3).square() * (1 + x.sin())).sum()


@pytest.mark.parametrize(("delta", "iterations"), [(1, 10), (2, 8), (3, 10), (4, 4), (7, 3)])
def test_reuse_computes_every_delta_th_gradient(delta: int, iterations: int) -> None:
    computed: list[int] = []

    def compute_at(iteration: int) -> Callable[[], Tensor]:
        def compute() -> Tensor:
            computed.append(iteration)
            return torch.tensor(float(iteration))

        return compute

    reuse = GradientReuse(delta)
    seen = [reuse(i, compute_at(i)) for i in range(iterations)]
    assert computed == list(range(0, iterations, delta))
    assert [float(gradient) for gradient, _ in seen] == [i - i % delta for i in range(iterations)]
    assert [reused for _, reused in seen] == [i % delta != 0 for i in range(iterations)]


def test_reuse_refuses_an_interval_below_one() -> None:
    with pytest.raises(ValueError, match=r"skip\.delta=0"):
        GradientReuse(0)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_without_reuse_it_is_adamw_bit_for_bit(weight_decay: float) -> None:
    x = start().requires_grad_(True)
    optimizer = torch.optim.AdamW([x], lr=0.1, weight_decay=weight_decay)
    for iteration in range(7):
        optimizer.param_groups[0]["lr"] = 0.1 - 0.06 * iteration / 7
        optimizer.zero_grad()
        curved(x).backward()
        optimizer.step()
    actual = optimise(start(), curved, iterations=7, lr=0.1, lr_end=0.04, delta=1, weight_decay=weight_decay)
    torch.testing.assert_close(actual, x.detach(), rtol=0, atol=0)


def test_reuse_is_the_surrogate_loss_of_the_stale_gradient() -> None:
    """The released code backpropagates <x, g>; assigning g is the same update, moments included."""
    x = start().requires_grad_(True)
    optimizer = torch.optim.AdamW([x], lr=0.05, weight_decay=0.0)
    stale = torch.empty(0)
    for iteration in range(10):
        optimizer.zero_grad()
        if iteration % 3 == 0:
            curved(x).backward()
            stale = x.grad.clone()
        else:
            (x * stale).sum().backward()
        optimizer.step()
    actual = optimise(start(), curved, iterations=10, lr=0.05, lr_end=0.05, delta=3)
    torch.testing.assert_close(actual, x.detach(), rtol=0, atol=0)
    every = optimise(start(), curved, iterations=10, lr=0.05, lr_end=0.05, delta=1)
    assert not torch.equal(actual, every)


def test_trace_tells_which_gradients_are_real() -> None:
    rows: list[dict[str, float]] = []
    calls: list[float] = []

    def loss(x: Tensor) -> Tensor:
        value = curved(x)
        calls.append(float(value.detach()))
        return value

    optimise(start(), loss, iterations=10, lr=0.01, lr_end=0.01, delta=3, on_iteration=rows.append)
    real = [row for row in rows if not row["reused"]]
    assert [row["iteration"] for row in rows] == list(range(10))
    assert [row["iteration"] for row in real] == [0, 3, 6, 9]
    assert [row["loss"] for row in real] == calls
    assert calls[-1] < calls[0]
    assert rows[4]["loss"] == rows[3]["loss"]
    assert all(math.isfinite(row["grad_norm"]) and row["grad_norm"] > 0 for row in rows)


def test_learning_rate_of_the_paper() -> None:
    rates = [learning_rate(j, 10, 0.003, 0.002) for j in range(10)]
    assert rates == pytest.approx([0.003 - 0.0001 * j for j in range(10)])


def test_learning_rate_reaches_the_optimiser() -> None:
    """Adam's first step has the length lr; a constant gradient keeps every later step at its own lr."""
    moved = optimise(start(), lambda x: (x * 5.0).sum(), iterations=4, lr=0.4, lr_end=0.2, delta=1)
    expected = start() - (0.4 + 0.35 + 0.3 + 0.25)
    torch.testing.assert_close(moved, expected)


def test_input_is_untouched_and_result_is_plain() -> None:
    x = start()
    moved = optimise(x, curved, iterations=2, lr=0.1, lr_end=0.1, delta=1)
    assert torch.equal(x, start())
    assert not x.requires_grad
    assert not moved.requires_grad
    assert moved.dtype == torch.float32
    assert not torch.equal(moved, x)


def test_gradients_are_taken_even_inside_no_grad() -> None:
    with torch.no_grad():
        moved = optimise(start(), curved, iterations=1, lr=0.1, lr_end=0.1, delta=1)
    assert not torch.equal(moved, start())


def test_half_precision_latents_are_optimised_in_float32() -> None:
    """Steps below the spacing of bfloat16 would leave the entries above 1 where they are."""
    x = torch.full((1, 1, 1, 2, 2), 3.0, dtype=torch.bfloat16)
    moved = optimise(x, lambda x: x.sum(), iterations=3, lr=0.001, lr_end=0.001, delta=1)
    torch.testing.assert_close(moved, torch.full((1, 1, 1, 2, 2), 2.997))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops_with_advice(bad: float) -> None:
    with pytest.raises(FloatingPointError, match=r"inner iteration 0; lower guidance\.lr or window\.tau"):
        optimise(start(), lambda x: (x * bad).sum(), iterations=2, lr=0.1, lr_end=0.1, delta=1)


@pytest.mark.parametrize(
    ("steps", "fraction", "guided"),
    [(50, 0.2, 10), (20, 0.3, 6), (10, 0.25, 3), (10, 0.24, 2), (3, 0.5, 2), (7, 0.0, 0), (7, 1.0, 7), (1, 0.4, 0)],
)
def test_guided_steps_round_half_up(steps: int, fraction: float, guided: int) -> None:
    assert guided_steps(steps, fraction) == guided
