"""Which device a part runs on, and in which number format."""

from __future__ import annotations

import logging
import os

import torch

log = logging.getLogger(__name__)
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16")
"""What torch calls a CPU's instructions for bfloat16."""


def device_of(name: str) -> torch.device:
    """The device that a name stands for; ``auto``: this process' GPU if there is any, else the CPU.

    Of several processes on one machine each has the GPU of its ``LOCAL_RANK``, which Lightning and torchrun set.
    """
    if name != "auto":
        return torch.device(name)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def computed_in(device: torch.device, name: str) -> torch.dtype:
    """The number format of a name; float32 for bfloat16 on a CPU without instructions for it.

    There it is about five times slower than float32.
    """
    if name == "bfloat16" and device.type == "cpu":
        able = torch.cpu.get_capabilities()
        if not any(able.get(each) for each in BFLOAT16):
            return torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def format_name(dtype: torch.dtype) -> str:
    """Give the name that configurations and records have for a number format."""
    return str(dtype).removeprefix("torch.")


def dtype_on(device: torch.device, name: str) -> torch.dtype:
    """As :func:`computed_in`, with a line in the log where it is another format than the name's."""
    dtype = computed_in(device, name)
    if name == "bfloat16" and dtype is torch.float32:
        log.info("backbone.dtype=bfloat16 is slow on this CPU, which has no instructions for it: float32 instead")
    return dtype
