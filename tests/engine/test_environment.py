"""The library leaves its caller's environment, logging and warnings as they were."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import wandb

from fastvmt.engine.quiet import quiet_libraries
from fastvmt.engine.run import run
from helpers.config import composed

STATE = """
import logging, os, warnings

def state():
    loggers = {"": logging.getLogger()} | logging.root.manager.loggerDict
    found = {
        name: (each.level, list(each.handlers), list(each.filters), each.propagate, each.disabled)
        for name, each in loggers.items()
        if isinstance(each, logging.Logger)
    }
    return {"environment": dict(os.environ), "filters": list(warnings.filters), "loggers": found}
"""
PROBE = f"""
import importlib.util, sys
import fastvmt.torchvision_ops  # declares operators, changes nothing else
if importlib.util.find_spec("decord"):
    import decord  # appends its own folder to PATH
import cv2, diffusers, hydra, open_clip, peft, torch, torchmetrics, transformers  # what they change is theirs
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from transformers import AutoTokenizer, UMT5EncoderModel
{STATE}
before = state()
import fastvmt
fastvmt.transfer(sys.argv[1], "a dog on grass", sys.argv[2:])
after = state()
assert "lightning" not in sys.modules
for what in ("environment", "filters"):
    assert after[what] == before[what], (what, after[what], before[what])
for name, known in before["loggers"].items():
    assert after["loggers"][name] == known, name
"""


@pytest.mark.slow
def test_a_transfer_changes_nothing_of_its_caller(small, finished_run):
    clip = next((finished_run / "cases").glob("*/reference_lossless.mp4"))
    command = [sys.executable, "-c", PROBE, str(clip), *small]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Loading" not in done.stderr


def test_a_run_with_wandb_changes_nothing_of_its_caller(job):
    scope: dict = {}
    exec(STATE, scope)
    wandb.teardown()  # its service, and the variable that names it, last as long as the process
    before = scope["state"]()
    run(composed(*job, "metrics=none", "sampler.steps=1"))
    wandb.teardown()
    after = scope["state"]()
    ours = ("lightning.pytorch", "lightning.fabric", "diffusers", "transformers", "")
    assert after["environment"] == before["environment"] and after["filters"] == before["filters"]
    for name in ours:
        assert after["loggers"][name] == before["loggers"][name], name


def test_silence_ends_with_its_context_whatever_happens():
    root, before = logging.getLogger(), list(warnings.filters)
    kept, level = list(root.handlers), logging.getLogger("lightning.pytorch").level
    added = logging.NullHandler()

    def noisy() -> None:
        with quiet_libraries():
            assert logging.getLogger("lightning.pytorch").level == logging.ERROR
            root.addHandler(added)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        noisy()
    assert logging.getLogger("lightning.pytorch").level == level
    assert root.handlers == kept and warnings.filters == before and "HF_HUB_OFFLINE" not in os.environ
