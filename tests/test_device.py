"""``auto`` is a process' own GPU, or the CPU; other names are what they say."""

from __future__ import annotations

import pytest
import torch

from fastvmt.device import device_of


@pytest.mark.parametrize(
    ("gpus", "rank", "expected"), [(False, "1", "cpu"), (True, None, "cuda:0"), (True, "3", "cuda:3")]
)
def test_auto_is_the_processes_own(
    monkeypatch: pytest.MonkeyPatch, gpus: bool, rank: str | None, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert device_of("auto") == torch.device(expected)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
def test_a_name_is_what_it_says(name: str) -> None:
    assert device_of(name) == torch.device(name)
