"""Processes that torchrun started: they share one output folder, and deal the cases among them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import psutil

FOLDER = "outputs/%Y-%m-%d/%H-%M-%S"
"""The default of ``output_dir``, for :func:`time.strftime`."""


def by_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is one of several processes that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in environment and environment.get("WORLD_SIZE", "1") != "1"


def shared_folder(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """What to add to a command line so that all processes of torchrun on this machine write to one folder.

    Each of them would resolve the time in the default folder's name by itself; their parent began at one time.
    Nothing where the folder is given, or where other machines, whose parents are others, take part.
    """
    one_machine = environment.get("LOCAL_WORLD_SIZE") == environment.get("WORLD_SIZE")
    given = any(word.lstrip("+").startswith(("output_dir=", "hydra.run.dir=")) for word in arguments)
    if given or not one_machine or not by_torchrun(environment):
        return []
    began = psutil.Process(os.getppid()).create_time()
    own = [] if environment.get("LOCAL_RANK") == "0" else ["hydra.output_subdir=null"]  # the first one writes it
    return [f"output_dir={time.strftime(FOLDER, time.localtime(began))}", *own]
