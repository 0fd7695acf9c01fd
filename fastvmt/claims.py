"""GPUs that processes of a sweep claim, each one for itself."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import torch

from fastvmt.errors import UserError

CLAIMED = "FASTVMT_GPU_CLAIMED_BY"
"""Environment variable: the process that sees a GPU of its own."""


def claim_gpu(locks: Path | None = None) -> None:
    """Let this process see one GPU alone, which no other process that claims one sees, until it ends.

    ``locks`` is the folder of the lock files, by default of this user in the system's temporary one. Raises
    :class:`UserError` where no GPU is free. Before anything else has used a GPU.
    """
    if os.environ.get(CLAIMED) == str(os.getpid()):
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    folder = locks or Path(tempfile.gettempdir()) / f"fastvmt-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in names:
        held = os.open(folder / name.replace("/", "-"), os.O_CREAT | os.O_RDWR, 0o600)  # stays open: it is the claim
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            continue
        os.environ |= {"CUDA_VISIBLE_DEVICES": name, CLAIMED: str(os.getpid())}
        return
    mend = "lower hydra.launcher.n_jobs, or set hydra/launcher=local"
    raise UserError(f"hydra/launcher=gpus: none of {len(names)} GPUs is free: {mend}")
