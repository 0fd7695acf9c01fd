"""Values that are refused where they enter, and the stopwatch's arithmetic."""

from __future__ import annotations

import math
import re
from dataclasses import fields

import pytest
import torch

from fastvmt.settings import Guidance, Sampler, Skip, Window, check_choice, check_range
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import Video


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Window(l=4), "window.l=4"),
        (lambda: Window(l=-1), "window.l=-1"),
        (lambda: Window(sf=0), "window.sf=0"),
        (lambda: Window(tile=[2]), "window.tile=[2]"),
        (lambda: Window(tau=0.0), "window.tau=0.0"),
        (lambda: Skip(0), "skip.delta=0"),
        (lambda: Guidance(fraction=1.1), "guidance.fraction=1.1"),
        (lambda: Guidance(iterations=0), "guidance.iterations=0"),
        (lambda: Guidance(lr=0.0), "guidance.lr=0.0"),
        (lambda: Guidance(lr_end=-0.1), "guidance.lr_end=-0.1"),
        (lambda: Guidance(block=-1), "guidance.block=-1"),
        (lambda: Guidance(amf_weight=-1.0), "guidance.amf_weight=-1.0"),
        (lambda: Guidance(alpha=1.5), "guidance.alpha=1.5"),
        (lambda: Guidance(reference_noise=2.0), "guidance.reference_noise=2.0"),
        (lambda: Guidance(source="run"), "guidance.source=run"),
        (lambda: Sampler(steps=0), "sampler.steps=0"),
        (lambda: Sampler(negative_every=0), "sampler.negative_every=0"),
        (lambda: Sampler(shift=0.0), "sampler.shift=0.0"),
        (lambda: Sampler(strength=0.0), "sampler.strength=0.0"),
        (lambda: Sampler(cfg_scale=float("nan")), "sampler.cfg_scale=nan"),
    ],
)
def test_settings_out_of_range_name_their_key(make: object, key: str) -> None:
    with pytest.raises(ValueError, match="out of range") as error:
        make()  # type: ignore[operator]
    assert str(error.value).startswith(key)


NUMBERS = [
    (kind, each.name)
    for kind in (Window, Skip, Guidance, Sampler)
    for each in fields(kind)
    if type(getattr(kind(), each.name)) in (int, float)
]


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 10**12, 10**12 + 1, -1e-9])
def test_every_number_is_finite_and_of_a_size_that_can_be_meant(kind: type, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{kind.__name__.lower()}\.{name}={re.escape(str(value))} is out of range"):
        kind(**{name: value})


@pytest.mark.parametrize("tile", [[], [1, 2, 3], [0, 1], [1, 10**12], [math.nan, 1], [1, math.inf]])
def test_a_tile_is_two_sides(tile: list[int]) -> None:
    with pytest.raises(ValueError, match=r"window\.tile=.* must be two numbers \[rows, columns\] in \[1, 10000\]"):
        Window(tile=tile)


def test_ranges_say_which_end_is_left_out() -> None:
    for value in (0.0, 0.5, 1, True):
        check_range("x", value, 0, 1)
    check_range("x", 0.5, 0, 1, above=True, below=True)
    for value, ends, legal in (
        (1.5, {}, r"\[0, 1\]"),
        (0, {"above": True}, r"\(0, 1\]"),
        (1, {"below": True}, r"\[0, 1\)"),
        (math.nan, {"above": True, "below": True}, r"\(0, 1\)"),
    ):
        with pytest.raises(ValueError, match=rf"^x={value} is out of range: it must be in {legal}\. Set it with x="):
            check_range("x", value, 0, 1, **ends)


def test_choices_are_named_as_in_yaml() -> None:
    check_choice("x", "a", ("a", "b"))
    check_choice("x", True, (False, True))
    with pytest.raises(ValueError, match=r"^x=c is out of range: it must be one of a, b\. Set it with x=<value>\."):
        check_choice("x", "c", ("a", "b"))
    with pytest.raises(ValueError, match="one of false, true"):
        check_choice("x", "yes", (False, True))


def test_video_refuses_other_tensors() -> None:
    for frames in (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, 4, 4, 3)):
        with pytest.raises(ValueError, match=r"uint8 of shape \(T, H, W, 3\)"):
            Video(frames, 8.0)


def test_stages_charge_the_inner_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 5.0, 9.0, 20.0, 21.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    watch = Stopwatch(torch.device("cpu"))
    with watch.stage("outer"), watch.stage("inner"):
        pass
    with watch.stage("outer"):
        pass
    assert watch.totals() == {"outer": 2.0 + 4.0 + 1.0, "inner": 3.0, "total": 10.0}
