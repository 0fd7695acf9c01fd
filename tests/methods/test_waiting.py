"""What waits for the device: no reading of a guided step and no log does, so that a GPU is not idle between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fastvmt.backbones.wan import WanBackbone
from fastvmt.guidance.gradient import GradientLog
from fastvmt.methods.shared_pass import shared_pass
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Window
from fastvmt.types import TransferCase
from helpers.methods import WINDOW, fastvmt
from helpers.transfers import distinct_job

READ = {"_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal", "_unique2", "repeat_interleave"}
"""Operations whose result, or its size, Python needs: on a device it waits for them."""


class Waits(TorchDispatchMode):
    """Lists the operations that a device would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name in ("index", "index_put") and any(i is not None and i.dtype is torch.bool for i in args[1])
        self.found += [name] * (name in READ or masked)
        return func(*args, **(kwargs or {}))


def test_what_python_reads_is_counted() -> None:
    x = torch.arange(4.0)
    with Waits() as waits:
        x[x > 1].sum().item()
        bool(x.max() > 2)
        x.nonzero()
    assert waits.found == ["index", "_local_scalar_dense", "_local_scalar_dense", "nonzero"]


@pytest.mark.parametrize("window", [WINDOW, replace(WINDOW, l=0)], ids=["windows", "dense"])
def test_no_reading_waits_for_the_device(backbone: WanBackbone, case: TransferCase, window: Window) -> None:
    job = distinct_job(backbone, case)
    x, sigma = seeded_noise(job.reference.shape, 2, backbone.device), job.sigmas[1]
    method = fastvmt(window=window, window_weight=1.0, diagnostics=True)
    gradient = method.gradient(method.objective(job, 1, x, sigma))
    compare = method.comparison(job, sigma)
    log = GradientLog()
    with Waits() as waits:
        for iteration in range(2):
            found = gradient(x)
            log.add(iteration, found, found.value, reused=False)
        _, shared = shared_pass(job, 1, x, sigma, compare, block=1, rope=False, of_terms=True)
        log.add(2, shared, shared.value, reused=True)
    assert not waits.found
    assert len(log.read()) == 3
