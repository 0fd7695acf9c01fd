"""Energy of a GPU, of stages and in total, against a fake NVML and a fake clock."""

from __future__ import annotations

import pytest

from fastvmt.cost.energy import WRAP, EnergyMeter, counted
from fastvmt.cost.nvml import Nvml, open_nvml
from fastvmt.stopwatch import Stopwatch
from helpers.instruments import CPU, Clock, FakeNvml


def measured(library: FakeNvml, clock: Clock) -> tuple[EnergyMeter, Stopwatch]:
    meter = EnergyMeter(*open_nvml("GPU-1", library), clock=clock)
    return meter, Stopwatch(CPU, [meter], clock=clock)


def test_energy_is_charged_to_the_inner_stage_and_short_stages_have_none():
    clock, library = Clock(), FakeNvml(energy=5_000)
    meter, watch = measured(library, clock)

    def work(seconds: float, millijoules: int) -> None:
        clock.now += seconds
        library.energy += millijoules

    work(9, 900)  # before the first stage: nobody's
    with watch.stage("denoise"):
        work(2, 600)
        with watch.stage("guide"):
            work(3, 1_500)
        work(1, 300)
    with watch.stage("decode"):
        work(0.5, 200)
    assert watch.seconds == {"denoise": 3.0, "guide": 3.0, "decode": 0.5}
    report = meter.report(watch.seconds, frames=4)
    assert report.method == "counter"
    assert report.joules == {"denoise": pytest.approx(0.9), "guide": pytest.approx(1.5), "decode": None}
    assert report.total == pytest.approx(2.6)  # the short stage counts here
    assert report.per_frame == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (10, 10, 0),
        (10, 25, 15),
        (WRAP - 100, 50, 150),  # wrapped
        (5_000, 20, None),  # the driver was loaded anew
        (2**40, 2**39, None),
    ],
)
def test_counter_that_wraps_or_restarts(before, after, expected):
    assert counted(before, after) == expected


def test_counter_that_wraps_or_restarts_within_a_case():
    for fall, known in ((WRAP - 1_000, True), (1_000_000, False)):
        clock, library = Clock(), FakeNvml(energy=fall)
        meter, watch = measured(library, clock)
        with watch.stage("a"):
            clock.now += 2
            library.energy = 500
        report = meter.report(watch.seconds, 1)
        assert report.joules["a"] == (pytest.approx(1.5) if known else None)
        assert report.total == (pytest.approx(1.5) if known else None)


def test_power_is_integrated_where_there_is_no_counter():
    clock, library = Clock(), FakeNvml(energy=None, power=100_000)
    meter, watch = measured(library, clock)
    with watch.stage("a"):
        for _ in range(4):  # 100 W, rising by 10 W a second: 100 t + 5 t^2
            clock.now += 1
            library.power += 10_000
            meter.sample()
    with watch.stage("b"):
        clock.now += 2
    report = meter.report(watch.seconds, 2)
    assert report.method == "sampled power"
    assert report.joules == {"a": pytest.approx(480), "b": pytest.approx(280)}
    assert report.total == pytest.approx(760)


@pytest.mark.parametrize(
    ("uuid", "library", "reason"),
    [
        (None, FakeNvml(), "not a CUDA device"),
        ("GPU-1", None, "nvidia-ml-py"),
        ("GPU-2", FakeNvml(), "GPU-2"),
        ("GPU-1", FakeNvml(mig=(1, 1), power=5, used=7), "MIG"),
        ("GPU-1", FakeNvml(energy=None), "neither energy nor power"),
    ],
)
def test_energy_that_cannot_be_read_is_missing_and_says_why(uuid, library, reason):
    nvml, said = open_nvml(uuid, library)
    meter = EnergyMeter(nvml, said)
    watch = Stopwatch(CPU, [meter])
    with watch.stage("a"):
        pass
    report = meter.report({"a": 5.0}, 3)
    assert reason in report.reason
    assert report.method is report.joules is report.total is report.per_frame is None


def test_mig_hides_the_neighbours():
    library = FakeNvml(energy=9, power=8, used=7, mig=(1, 1))
    slice_, whole = Nvml(library, "h"), Nvml(FakeNvml(energy=9, power=8, used=7, mig=(0, 0)), "h")
    assert (slice_.energy_mj(), slice_.power_mw(), slice_.used_bytes()) == (None, None, None)
    assert (whole.energy_mj(), whole.power_mw(), whole.used_bytes()) == (9, 8, 7)


@pytest.mark.parametrize(("running", "count"), [(["a", "b"], 2), ([], 0), (None, None)])
def test_processes_on_the_gpu_are_counted_where_the_driver_tells(running: list[str] | None, count: int | None) -> None:
    nvml, _ = open_nvml("GPU-1", FakeNvml(running=running))
    assert nvml is not None and nvml.processes() == count
