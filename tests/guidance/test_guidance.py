"""The inner optimisation against plain torch loops, and the arithmetic of reuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from fastvmt.guidance.gradient import Gradient, GradientLog, gradient_at, gradient_of
from fastvmt.guidance.optimisation import Optimisation, guided_steps, optimise
from fastvmt.guidance.reuse import GradientReuse
from fastvmt.settings import Predict


def start(seed: int = 0) -> Tensor:
    return torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def curved(x: Tensor) -> Tensor:
    """A loss whose gradient changes from iteration to iteration."""
    return ((x - 0.3).square() * (1 + x.sin())).sum()


def minimised(
    x: Tensor,
    loss: Callable[[Tensor], Tensor],
    iterations: int,
    lr: float,
    lr_end: float | None = None,
    on_iteration: Callable[[dict[str, float]], None] | None = None,
    **numbers: object,
) -> Tensor:
    """``optimise`` with a rate that falls within the step, or is constant."""
    settings = Optimisation(1.0, iterations, lr, lr_end or lr, **numbers)
    return optimise(x, gradient_of(loss), settings, settings.rates_within_step(), on_iteration=on_iteration)


@pytest.mark.parametrize(("delta", "iterations"), [(1, 10), (2, 8), (3, 10), (4, 4), (7, 3)])
def test_reuse_computes_every_delta_th_gradient(delta: int, iterations: int) -> None:
    computed: list[int] = []

    def compute_at(iteration: int) -> Callable[[], Gradient]:
        def compute() -> Gradient:
            computed.append(iteration)
            return Gradient(torch.tensor(0.0), torch.tensor(float(iteration)))

        return compute

    reuse = GradientReuse(delta)
    seen = [reuse(i, compute_at(i)) for i in range(iterations)]
    assert computed == list(range(0, iterations, delta))
    assert [float(used) for _, used, _ in seen] == [i - i % delta for i in range(iterations)]
    assert [float(last.value) for last, _, _ in seen] == [float(used) for _, used, _ in seen]
    assert [reused for _, _, reused in seen] == [i % delta != 0 for i in range(iterations)]


@pytest.mark.parametrize(("delta", "iterations"), [(2, 9), (3, 10), (4, 9)])
def test_the_line_through_two_gradients_is_exact_where_they_change_linearly(delta: int, iterations: int) -> None:
    """On a quadratic whose latents move evenly; before the second gradient the first is replayed."""
    matrix, x, move = (torch.randn(5, 5, generator=torch.Generator().manual_seed(seed)).double() for seed in range(3))
    gradients = [matrix @ (x + i * move) for i in range(iterations)]
    reuse = GradientReuse(delta, Predict.linear)
    for i in range(iterations):
        last, used, reused = reuse(i, lambda i=i: Gradient(torch.tensor(0.0), gradients[i]))
        assert reused is (i % delta != 0)
        torch.testing.assert_close(used, gradients[0] if i < delta else gradients[i])
        assert torch.equal(last.value, gradients[i - i % delta])


def test_the_line_reaches_the_latents() -> None:
    held = minimised(start(), curved, 6, 0.05, delta=2)
    assert torch.equal(minimised(start(), curved, 6, 0.05, delta=2, predict=Predict.hold), held)
    assert not torch.equal(minimised(start(), curved, 6, 0.05, delta=2, predict=Predict.linear), held)
    without = minimised(start(), curved, 6, 0.05, delta=1)
    assert torch.equal(minimised(start(), curved, 6, 0.05, delta=1, predict=Predict.linear), without)


NUMBERS = {"fraction": 0.5, "iterations": 6, "lr": 0.02, "lr_end": 0.01}


@pytest.mark.parametrize(
    ("change", "key", "other"),
    [
        ({"fraction": 1.1}, "fraction", "guidance.fraction"),
        ({"fraction": -0.1}, "fraction", "guidance.fraction"),
        ({"iterations": 0}, "iterations", "guidance.iterations"),
        ({"lr": 0.0}, "lr", "guidance.lr"),
        ({"lr_end": -1.0}, "lr_end", "guidance.lr_end"),
        ({"weight_decay": -0.1}, "weight_decay", "guidance.weight_decay"),
        ({"delta": 0}, "skip.delta", "skip.delta"),
        ({"delta": 7}, "skip.delta", "skip.delta"),
        ({"delta": 6, "predict": Predict.linear}, "skip.predict", "skip.predict"),
    ],
)
def test_numbers_out_of_range_name_the_key_of_their_group(change: dict[str, float], key: str, other: str) -> None:
    own = key if "." in key else f"method.{key}"
    for group, name in (("method", own), ("guidance", other)):
        with pytest.raises(ValueError, match=rf"^{name}=".replace(".", r"\.")):
            Optimisation(**(NUMBERS | change), group=group)


def test_a_gradient_is_reused_within_a_step_only() -> None:
    Optimisation(**NUMBERS, delta=6)
    with pytest.raises(ValueError, match=r"skip\.delta=7 must be at most guidance\.iterations=6"):
        Optimisation(**NUMBERS, delta=7, group="guidance")


@pytest.mark.parametrize(("delta", "gradients"), [(1, 6), (2, 3), (3, 2), (4, 2), (5, 2), (6, 1)])
def test_gradients_of_a_step(delta: int, gradients: int) -> None:
    numbers = Optimisation(**NUMBERS, delta=delta)
    rows: list[dict[str, float]] = []
    optimise(start(), gradient_of(curved), numbers, numbers.rates_within_step(), on_iteration=rows.append)
    assert numbers.gradients == gradients == sum(not row["reused"] for row in rows)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_without_reuse_it_is_adamw_bit_for_bit(weight_decay: float) -> None:
    x = start().requires_grad_(True)
    optimizer = torch.optim.AdamW([x], lr=0.1, weight_decay=weight_decay)
    for iteration in range(7):
        optimizer.param_groups[0]["lr"] = 0.1 - 0.06 * iteration / 7
        optimizer.zero_grad()
        curved(x).backward()
        optimizer.step()
    actual = minimised(start(), curved, 7, 0.1, 0.04, weight_decay=weight_decay)
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
    actual = minimised(start(), curved, 10, 0.05, delta=3)
    torch.testing.assert_close(actual, x.detach(), rtol=0, atol=0)
    every = minimised(start(), curved, 10, 0.05)
    assert not torch.equal(actual, every)


def test_trace_tells_which_gradients_are_real() -> None:
    rows: list[dict[str, float]] = []
    calls: list[float] = []

    def loss(x: Tensor) -> Tensor:
        value = curved(x)
        calls.append(float(value.detach()))
        return value

    minimised(start(), loss, 10, 0.01, delta=3, on_iteration=rows.append)
    real = [row for row in rows if not row["reused"]]
    assert [row["iteration"] for row in rows] == list(range(10))
    assert [row["iteration"] for row in real] == [0, 3, 6, 9]
    assert [row["loss"] for row in real] == calls
    assert calls[-1] < calls[0]
    assert rows[4]["loss"] == rows[3]["loss"]
    assert all(math.isfinite(row["grad_norm"]) and row["grad_norm"] > 0 for row in rows)


def terms(x: Tensor) -> dict[str, Tensor]:
    return {"near": 3.0 * x.square().sum(), "far": curved(x), "still": torch.tensor(2.0)}


def test_terms_add_up_and_their_norms_are_autograds() -> None:
    """The norms cost passes of their own, and change nothing; a term that is constant has none."""
    x = start()
    value = gradient_of(lambda x: sum(terms(x).values()))(x)
    plain, told = (gradient_of(terms, of_terms=of_terms)(x) for of_terms in (False, True))
    for gradient in (plain, told):
        torch.testing.assert_close(gradient.loss, value.loss)
        torch.testing.assert_close(gradient.value, value.value)
    assert torch.equal(plain.value, told.value) and plain.norms == {} and set(told.norms) == {"near", "far"}
    for name, norm in told.norms.items():
        torch.testing.assert_close(norm, gradient_of(lambda x, name=name: terms(x)[name])(x).value.norm())
    alone = gradient_of(lambda x: {"near": terms(x)["near"]}, of_terms=True)(x)
    assert torch.equal(alone.norms["near"], alone.value.norm())


@pytest.mark.parametrize(("of_terms", "count"), [(False, 1), (True, 3)])
def test_backward_passes_of_a_gradient(of_terms: bool, count: int) -> None:
    leaf, seen = start().requires_grad_(True), []
    inner = leaf * 1.0
    inner.register_hook(lambda _: seen.append(1))
    gradient_at(leaf, terms(inner), of_terms=of_terms)
    assert len(seen) == count


def test_cosines_are_those_of_consecutive_real_gradients() -> None:
    """Also from one denoising step to the next, on which the same log goes on; the first has none before it."""
    log, real = GradientLog(), []

    def gradient(x: Tensor) -> Gradient:
        real.append(gradient_of(curved)(x))
        return real[-1]

    numbers = Optimisation(1.0, 5, 0.05, 0.05, delta=2)
    rows: list[dict[str, float]] = []
    for seed in (0, 1):
        optimise(start(seed), gradient, numbers, numbers.rates_within_step(), log=log, on_iteration=rows.append)
    cosines = [row.get("cosine") for row in rows if not row["reused"]]
    flat = [gradient.value.flatten() for gradient in real]
    expected = [float(a @ b / (a.norm() * b.norm())) for a, b in pairwise(flat)]
    assert cosines[0] is None and cosines[1:] == pytest.approx(expected, abs=1e-6) and len(cosines) == 6
    assert not any("cosine" in row for row in rows if row["reused"])


def test_numbers_are_read_once_at_the_end_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every conversion to a number waits for the device."""
    waits: list[str] = []

    def watch(name: str) -> None:
        original = getattr(Tensor, name)

        def watched(self: Tensor) -> object:
            waits.append(name)
            return original(self)

        monkeypatch.setattr(Tensor, name, watched)

    for name in ("__float__", "__bool__", "__int__", "tolist"):
        watch(name)
    minimised(start(), curved, 6, 0.05, delta=2)
    assert waits == ["tolist"]


def test_learning_rates_of_the_papers() -> None:
    """FastVMT's fall within a step and never reach the end; DiTFlow's table of eleven entries loses its last."""
    fastvmt = Optimisation(0.2, 10, 0.003, 0.002)
    assert fastvmt.rates_within_step() == pytest.approx([0.003 - 0.0001 * j for j in range(10)])
    ditflow = Optimisation(0.2, 5, 0.002, 0.001)
    rates = [ditflow.rates_over_steps(i, 50) for i in range(10)]
    assert [set(each) for each in rates] == [{each[0]} for each in rates]
    assert [each[0] for each in rates] == pytest.approx([0.002 - 0.0001 * i for i in range(10)])
    assert {len(each) for each in rates} == {5}


def test_learning_rate_reaches_the_optimiser() -> None:
    """Adam's first step has the length lr; a constant gradient keeps every later step at its own lr."""
    moved = minimised(start(), lambda x: (x * 5.0).sum(), 4, 0.4, 0.2)
    expected = start() - (0.4 + 0.35 + 0.3 + 0.25)
    torch.testing.assert_close(moved, expected)


def test_input_is_untouched_and_result_is_plain() -> None:
    x = start()
    moved = minimised(x, curved, 2, 0.1)
    assert torch.equal(x, start())
    assert not x.requires_grad
    assert not moved.requires_grad
    assert moved.dtype == torch.float32
    assert not torch.equal(moved, x)


def test_gradients_are_taken_even_inside_no_grad() -> None:
    with torch.no_grad():
        moved = minimised(start(), curved, 1, 0.1)
    assert not torch.equal(moved, start())


def test_half_precision_latents_are_optimised_in_float32() -> None:
    """Steps below the spacing of bfloat16 would leave the entries above 1 where they are."""
    x = torch.full((1, 1, 1, 2, 2), 3.0, dtype=torch.bfloat16)
    moved = minimised(x, lambda x: x.sum(), 3, 0.001)
    torch.testing.assert_close(moved, torch.full((1, 1, 1, 2, 2), 2.997))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops_with_advice(bad: float) -> None:
    for group in ("guidance", "method"):
        with pytest.raises(FloatingPointError, match=rf"iteration 0, .*{group}\.lr$"):
            minimised(start(), lambda x: (x * bad).sum(), 2, 0.1, group=group)


@pytest.mark.parametrize(
    ("steps", "fraction", "guided"),
    [(50, 0.2, 10), (20, 0.3, 6), (10, 0.25, 3), (10, 0.24, 2), (3, 0.5, 2), (7, 0.0, 0), (7, 1.0, 7), (1, 0.4, 0)],
)
def test_guided_steps_round_half_up(steps: int, fraction: float, guided: int) -> None:
    assert guided_steps(steps, fraction) == Optimisation(**(NUMBERS | {"fraction": fraction})).guided(steps) == guided
