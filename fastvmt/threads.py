"""How many threads a run computes with: physical cores unless told otherwise, for the run only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import psutil
import torch


def default_threads() -> int:
    """The physical cores that this process may use, at most as many as torch would take (``OMP_NUM_THREADS``).

    Hyper-threads and cores given to other processes make threads wait for each other, and OpenMP's wait burns time.
    """
    cores = psutil.cpu_count(logical=False) or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return max(1, min(cores, allowed, torch.get_num_threads()))


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """Let torch and OpenCV compute with so many threads inside (None: the default), as before outside."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    wanted = threads or default_threads()
    torch.set_num_threads(wanted)
    cv2.setNumThreads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
