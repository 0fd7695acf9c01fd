"""The seconds of stages: what their meters take is left out, and events against the wall clock."""

from __future__ import annotations

import pytest

from fastvmt.stopwatch import Stopwatch
from helpers.instruments import CPU, Clock, FakeEvent


def test_meters_take_no_measured_time():
    clock = Clock()

    class Slow:
        def border(self, stage: str | None) -> None:
            clock.now += 100

    watch = Stopwatch(CPU, [Slow()], clock=clock)
    with watch.stage("a"):
        clock.now += 1
    assert watch.totals() == {"a": 1.0, "total": 1.0}


def test_what_was_charged_is_beside_the_total():
    clock = Clock()
    watch = Stopwatch(CPU, clock=clock)
    with watch.stage("denoise"):
        clock.now += 2.0
    watch.charge("made here", 0.0)
    watch.charge("made here", 5.0)
    assert watch.totals() == {"denoise": 2.0, "total": 2.0, "reference_kept": 0.0}
    watch.charge("found", 3.0)
    watch.charge("found", 4.0)
    assert watch.totals() == {"denoise": 2.0, "total": 2.0, "reference_kept": 3.0}
    later = Stopwatch(CPU, clock=clock)
    later.charge("made here", 9.0)  # what it finds before it knows that it goes on
    later.go_on({"denoise": 2.0}, {"denoise": 2.0}, watch.charged)
    later.charge("made here", 5.0)
    assert later.totals() == {"denoise": 2.0, "total": 2.0, "reference_kept": 3.0}


@pytest.mark.parametrize(("host_lag", "bound"), [(0.01, False), (0.2, True)])
def test_events_are_the_seconds_and_the_wall_clock_the_check(host_lag, bound):
    device, host = Clock(), Clock()
    watch = Stopwatch(CPU, clock=host, event=lambda: FakeEvent(device))
    with watch.stage("a"):
        device.now += 2
        host.now += 2 * (1 + host_lag)
        with watch.stage("b"):
            device.now += 1
            host.now += 1 + host_lag
    assert watch.totals() == pytest.approx({"a": 2.0, "b": 1.0, "total": 3.0})
    assert watch.wall == pytest.approx({"a": 2 * (1 + host_lag), "b": 1 + host_lag})
    assert watch.host_bound is bound
    assert Stopwatch(CPU).host_bound is None
