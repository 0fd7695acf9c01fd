"""Markers of slower tests, and how tests are dealt out; fixtures of all tests are in ``helpers/fixtures.py``."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from helpers import SHARED

MARKERS = {
    "slow": "takes more than a few seconds; run with --slow",
    "gpu": "needs a CUDA device",
    "weights": "needs a Wan model in the folder that FASTVMT_WEIGHTS names",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of what all processes of the session share; those that tests are dealt to inherit its name."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix="fastvmt-tests-")
        os.environ[SHARED] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Load the fixtures of all tests, and torch, unless this process only deals tests out: it starts others at once."""
    if not session.config.pluginmanager.hasplugin("dsession"):
        session.config.pluginmanager.import_plugin("helpers.fixtures")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip marked tests whose needs this machine does not meet, saying which; long ones begin first.

    A long one that begins last would leave the other processes without work.
    """
    import torch  # loaded by now

    items.sort(key=lambda item: "slow" not in item.keywords)
    met = {
        "slow": bool(config.getoption("--slow")),
        "gpu": torch.cuda.is_available(),
        "weights": Path(os.environ.get("FASTVMT_WEIGHTS", "missing")).is_dir(),
    }
    for item in items:
        for name, reason in MARKERS.items():
            if name in item.keywords and not met[name]:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end: it would take a tenth of the time."""
    gc.collect()
    gc.freeze()
