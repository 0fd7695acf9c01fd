"""Threads are the run's, and afterwards the caller's again."""

from __future__ import annotations

import cv2
import pytest
import torch

from fastvmt.engine.plan import make_plan
from fastvmt.errors import UserError
from fastvmt.threads import computing_with, default_threads
from helpers.config import composed


@pytest.mark.parametrize("wanted", [1, 2])
def test_torch_and_opencv_have_the_threads_inside_only(wanted) -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    with computing_with(wanted):
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (wanted, wanted)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


def test_the_default_is_no_more_than_torch_would_take(monkeypatch) -> None:
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert default_threads() == 8
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert default_threads() == 3


@pytest.mark.parametrize("value", ["0", "-1", "100000"])
def test_the_number_is_checked(value) -> None:
    with pytest.raises(UserError, match=rf"threads={value} is out of range"):
        make_plan(composed(f"threads={value}"))
