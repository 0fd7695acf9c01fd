"""``auto`` is a process' own GPU, or the CPU; other names are what they say."""

from __future__ import annotations

import pytest
import torch

from fastvmt.device import device_of, dtype_on


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


@pytest.mark.parametrize(
    ("device", "able", "name", "expected", "lines"),
    [
        ("cpu", {"avx2": True, "avx512_bf16": False}, "bfloat16", torch.float32, 1),
        ("cpu", {"avx512_bf16": True}, "bfloat16", torch.bfloat16, 0),
        ("cpu", {"amx_bf16": True}, "bfloat16", torch.bfloat16, 0),
        ("cpu", {}, "float16", torch.float16, 0),
        ("cpu", {}, "float32", torch.float32, 0),
        ("cuda", {}, "bfloat16", torch.bfloat16, 0),
    ],
)
def test_bfloat16_without_instructions_is_float32_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    device: str,
    able: dict[str, bool],
    name: str,
    expected: torch.dtype,
    lines: int,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    with caplog.at_level("INFO", "fastvmt"):
        assert dtype_on(torch.device(device), name) is expected
    assert len(caplog.messages) == lines
