"""The account of a case: peaks of memory, the poller that samples them, and the report."""

from __future__ import annotations

import math
import mmap
import time

import pytest
import torch

from fastvmt.cost.account import CostAccount
from fastvmt.cost.contention import device_contended
from fastvmt.cost.cost import loop, loop_with_reference, peak
from fastvmt.cost.memory import GIB, SampledPeak, resident_bytes
from fastvmt.cost.poller import Poller
from fastvmt.cost.rapl import open_rapl
from fastvmt.stopwatch import Stopwatch
from helpers.instruments import CPU


def test_peaks_belong_to_their_stage():
    used = [0]
    memory = SampledPeak(lambda: used[0])
    watch = Stopwatch(CPU, [memory])

    def reach(value: int) -> None:
        used[0] = value
        memory.sample()

    reach(9 * GIB)
    used[0] = GIB
    with watch.stage("a"):
        reach(3 * GIB)
        with watch.stage("b"):
            reach(7 * GIB)
            reach(2 * GIB)
        reach(4 * GIB)
    assert memory.gib() == {"a": 4.0, "b": 7.0}
    nothing = SampledPeak(lambda: None)
    nothing.border(None)
    nothing.border("a")
    assert nothing.gib() == {"a": None}
    assert peak({"x": {"a": None, "b": 2.0}, "y": {"a": None}, "z": None}, "x") == 2.0
    assert peak({"y": {"a": None}, "z": None}, "y") is peak({"z": None}, "z") is None


def test_poller_samples_until_it_leaves():
    count = [0]

    def sample() -> None:
        count[0] += 1

    with Poller(sample, 0.002):
        deadline = time.monotonic() + 60
        while count[0] < 3 and time.monotonic() < deadline:
            time.sleep(0.002)
    after = count[0]
    time.sleep(0.02)
    assert count[0] == after >= 3
    with pytest.raises(ValueError, match="interval=0"):
        Poller(sample, 0)


@pytest.mark.parametrize(
    ("processes", "busy", "host_bound", "contended"),
    [
        (1, False, False, False),
        (2, False, False, True),
        (1, True, False, False),  # the host has time to spare
        (1, True, True, True),
        (1, True, None, False),
        (None, True, False, True),
        (None, False, True, False),
    ],
)
def test_a_gpu_is_contended_by_processes_on_it_and_by_a_host_that_sets_the_time(processes, busy, host_bound, contended):
    assert device_contended(processes, busy, host_bound) is contended


def test_account_of_a_case_on_the_cpu_sees_an_allocation():
    with CostAccount(CPU, None, "not a CUDA device") as account:
        with account.watch.stage("encode"):
            pass
        with account.watch.stage("guide"):
            fresh = mmap.mmap(-1, 300 * 2**20)  # from the system: malloc may have that much of earlier tests at hand
            block = torch.frombuffer(fresh, dtype=torch.uint8).fill_(1)
            account.sample()  # the poller's thread may be kept waiting on a busy machine
            del block
        with account.watch.stage("decode"):
            pass
    report = account.report(frames=9, metrics=0.5)
    resident = report.memory_gib["resident"]
    assert resident["guide"] - resident["encode"] == pytest.approx(0.29, abs=0.1)
    assert report.memory_gib["allocated"] is None
    assert report.memory_gib["device"] == {"encode": None, "guide": None, "decode": None}
    assert report.energy.total is None and report.energy.reason == "not a CUDA device"
    assert (report.cpu_energy.method is None) == bool(open_rapl()[1])
    assert report.seconds["loop_with_reference"] == pytest.approx(account.watch.seconds["guide"])
    assert 0 < report.seconds["loop_with_reference"] < report.seconds["total"]
    assert resident_bytes()() > 50 * 2**20


def test_loop_is_guide_and_denoise_and_the_publications_count_the_reference_too():
    seconds = {"encode": 1.0, "tune": 2.0, "reference": 4.0, "guide": 8.0, "denoise": 16.0, "decode": 32.0}
    assert (loop(seconds), loop_with_reference(seconds)) == (24, 28)
    assert (loop({"denoise": 5.0}), loop_with_reference({"denoise": 5.0})) == (5, 5)
    assert math.isnan(loop({"encode": 1.0}))


@pytest.mark.gpu
def test_account_on_the_gpu():
    device = torch.device("cuda")
    with CostAccount(device, None, "not asked") as account, account.watch.stage("guide"):
        torch.ones(2**30, dtype=torch.uint8, device=device)
    report = account.report(frames=1, metrics=0.0)
    assert report.memory_gib["allocated"]["guide"] >= 1
    assert report.seconds["loop_with_reference"] > 0
