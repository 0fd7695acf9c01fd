"""Bytes that torch allocates on the CPU, counted one by one by its profiler."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from torch.autograd.profiler import profile


def allocations(work: Callable[[], Any]) -> tuple[int, int, Any]:
    """Bytes that are left after the work while its result lives, the most at one time, and the result."""
    with profile(profile_memory=True, use_kineto=True) as profiler:
        result = work()
    changes = [event.nbytes() for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    assert changes
    return sum(changes), max(accumulate(changes)), result
