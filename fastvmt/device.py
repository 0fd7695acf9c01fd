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


def dtype_on(device: torch.device, name: str) -> torch.dtype:
    """The number format of a name; float32, with a line in the log, for bfloat16 on a CPU without instructions for it.

    There it is about five times slower than float32.
    """
    if name == "bfloat16" and device.type == "cpu":
        able = torch.cpu.get_capabilities()
        if not any(able.get(each) for each in BFLOAT16):
            log.info("backbone.dtype=bfloat16 is slow on this CPU, which has no instructions for it: float32 instead")
            return torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype
