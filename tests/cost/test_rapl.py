"""Energy of the CPU's packages from counters written as files."""

from __future__ import annotations

from pathlib import Path

from fastvmt.cost.energy import EnergyMeter
from fastvmt.cost.rapl import open_rapl
from fastvmt.stopwatch import Stopwatch
from helpers.instruments import CPU, Clock


def zone(folder: Path, name: str, range_uj: int = 1000_000) -> Path:
    folder.mkdir(parents=True)
    for file, value in {"name": name, "energy_uj": 0, "max_energy_range_uj": range_uj}.items():
        (folder / file).write_text(f"{value}\n")
    return folder / "energy_uj"


def test_energy_of_the_cpu_packages_across_their_wrap(tmp_path):
    """Packages add up; their parts, their second counters and the whole platform would count twice: left out."""
    first, second = zone(tmp_path / "intel-rapl:0", "package-0"), zone(tmp_path / "intel-rapl:1", "package-1")
    others = zone(tmp_path / "intel-rapl:0:0", "core"), zone(tmp_path / "intel-rapl:2", "psys")
    others += (zone(tmp_path / "intel-rapl-mmio:0", "package-0"),)  # the first package once more
    rapl, reason = open_rapl(tmp_path)
    assert rapl is not None and reason == ""
    clock = Clock()
    meter = EnergyMeter(rapl, reason, clock=clock)
    watch = Stopwatch(CPU, [meter], clock=clock)
    with watch.stage("guide"):
        clock.now = 4.0
        first.write_text("900000"), second.write_text("500000"), [other.write_text("700000") for other in others]
        assert rapl.energy_mj() == 1400  # a poller's reading in between, before the counter starts again
        first.write_text("100000")
    report = meter.report(watch.seconds, frames=4)
    assert (report.method, report.total, report.per_frame) == ("counter", 1.6, 0.4)
    with watch.stage("decode"):
        clock.now = 6.0
        second.unlink()
    assert meter.report(watch.seconds, frames=4).total is None


def test_unreadable_cpu_counters_say_why(tmp_path):
    assert open_rapl(tmp_path / "nothing") == (None, f"{tmp_path / 'nothing'} names no CPU package")
    zone(tmp_path / "intel-rapl:0", "package-0").unlink()
    rapl, reason = open_rapl(tmp_path)
    assert rapl is None and "energy_uj" in reason
    report = EnergyMeter(rapl, reason).report({"guide": 9.0}, frames=9)
    assert report.total is None and report.reason == reason
