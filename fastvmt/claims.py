"""What processes claim, each for itself: GPUs those of a sweep, folders of results every run."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def claim_folder(folder: Path) -> Iterator[None]:
    """Let no other process that claims it write results into a folder within the context, and leave no file there.

    Raises :class:`UserError` where another one is at work. A file system without locks gives every claim.
    """
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = "another process writes its results there: wait for it, or set another output_dir=<folder>"
            raise UserError(f"output_dir={folder}: {told}") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise
        yield
    finally:
        os.close(held)
