"""A tiny, fast job on the random model, a run of it and a session on it, each made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fastvmt.engine.run import run
from fastvmt.engine.session import Session, open_session
from helpers.config import composed
from helpers.small_study import write_study

SMALL = [
    "backbone.height=48",
    "backbone.width=48",
    "guidance.block=1",
    "sampler.steps=3",
    "guidance.iterations=2",
    "guidance.fraction=0.3",
    "skip.delta=2",
    "device=cpu",
]


@pytest.fixture(scope="session")
def small(random_wan: Path) -> list[str]:
    """Overrides of a run that takes a second; writes where ``output_dir`` says."""
    return [f"backbone.path={random_wan}", *SMALL, "cache_dir=null"]


@pytest.fixture
def job(small: list[str], tmp_path: Path) -> list[str]:
    """The run into ``tmp_path``."""
    return [*small, f"output_dir={tmp_path / 'out'}", f"cache_dir={tmp_path / 'cache'}"]


@pytest.fixture(scope="session")
def finished_run(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with lossless videos and Weights & Biases. Read only."""
    folder = tmp_path_factory.mktemp("finished")
    run(composed(*small, f"output_dir={folder}", f"cache_dir={folder / 'cache'}", "lossless=true"))
    return folder


@pytest.fixture(scope="session")
def session(small: list[str]) -> Session:
    """A loaded session with the fast scores."""
    return open_session(composed(*small, "metrics=fast", "logger=none"))


@pytest.fixture(scope="session")
def small_study(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two rows without scores, whose table shows gradients. Read only, but for the cells below it."""
    return write_study(tmp_path_factory.mktemp("study") / "small", small, "table.columns=[gradients]")


@pytest.fixture
def study(small_study: Path, tmp_path: Path) -> Path:
    """The same study, to be changed."""
    return Path(shutil.copytree(small_study, tmp_path / "study", ignore=shutil.ignore_patterns("cache")))
