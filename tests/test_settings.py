"""Values that are refused where they enter, and the stopwatch's arithmetic."""

from __future__ import annotations

import pytest
import torch

from fastvmt.settings import Guidance, Sampler, Skip, Window
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
        (lambda: Sampler(steps=0), "sampler.steps=0"),
        (lambda: Sampler(shift=0.0), "sampler.shift=0.0"),
        (lambda: Sampler(strength=0.0), "sampler.strength=0.0"),
        (lambda: Sampler(cfg_scale=float("nan")), "sampler.cfg_scale=nan"),
    ],
)
def test_settings_out_of_range_name_their_key(make: object, key: str) -> None:
    with pytest.raises(ValueError, match="out of range") as error:
        make()  # type: ignore[operator]
    assert str(error.value).startswith(key)


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
