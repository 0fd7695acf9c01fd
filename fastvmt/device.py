"""Which device a part runs on."""

from __future__ import annotations

import os

import torch


def device_of(name: str) -> torch.device:
    """The device that a name stands for; ``auto``: this process' GPU if there is any, else the CPU.

    Of several processes on one machine each has the GPU of its ``LOCAL_RANK``, which Lightning and torchrun set.
    """
    if name != "auto":
        return torch.device(name)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
