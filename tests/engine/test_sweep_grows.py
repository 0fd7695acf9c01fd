"""A sweep that grows makes what is new and nothing else, and its jobs load the model once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastvmt.engine.run
import fastvmt.studies.table_command  # noqa: F401  forks find both imported
from experiments.checks.fork import run_command, working_folder
from experiments.checks.trial import Outcome

SMALL = [
    "backbone.height=48",
    "backbone.width=48",
    "guidance.block=1",
    "guidance.fraction=0.5",
    "guidance.iterations=1",
    "skip.delta=1",
    "sampler.steps=2",
    "metrics=none",
    "logger=none",
]
LOG = "counted"
EARLIER = "rows of earlier sweeps, in the table too: "


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., Outcome]:
    """A sweep into the test's folder, started in a folder below it, where what it loads is noted."""

    def start(place: str, *overrides: str) -> Outcome:
        here = tmp_path / place
        here.mkdir(exist_ok=True)
        (here / LOG).unlink(missing_ok=True)
        fixed = [f"output_dir={tmp_path / 'out'}", f"cache_dir={tmp_path / 'cache'}"]
        done = run_command(("run", "-m", *SMALL, *fixed, *overrides), here, confine=counting)
        assert done.code == 0, done.stderr
        return done

    return start


def counting(here: Path) -> None:
    """Note in a new process what the command loads and composes."""
    from diffusers import WanTransformer3DModel
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    compose = ConfigLoaderImpl.load_sweep_config

    def composed(*words: Any) -> Any:
        with (here / LOG).open("a") as log:
            log.write("job\n")
        return compose(*words)

    ConfigLoaderImpl.load_sweep_config = composed
    load = WanTransformer3DModel.from_pretrained.__func__

    def noted(kind: Any, *words: Any, **named: Any) -> Any:
        with (here / LOG).open("a") as log:
            log.write("transformer\n")
        return load(kind, *words, **named)

    WanTransformer3DModel.from_pretrained = classmethod(noted)


def loads(here: Path, what: str = "transformer") -> int:
    """How many transformers the last sweep of a place loaded, or how many jobs it composed."""
    return (here / LOG).read_text().splitlines().count(what) if (here / LOG).exists() else 0


def cells(folder: Path) -> set[str]:
    """The videos that are kept."""
    return {file.parent.name for file in folder.glob("cache/cells/*/*/case.json")}


def content(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """All files of cases, with when they were written."""
    files = [file for file in folder.glob("out/rows/*/cases/*/*") if file.is_file()]
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


@pytest.mark.slow
def test_a_sweep_makes_what_is_new_and_nothing_else(sweep, random_wan: Path, tmp_path: Path) -> None:
    relative = os.path.relpath(random_wan, working_folder(tmp_path / "here"))
    path, cases = f"backbone.path={relative}", ["benchmark=world", "benchmark.cases=2"]
    sweep("here", path, *cases, "window.l=3,5", "window.sf=2,4")
    made, files = cells(tmp_path), content(tmp_path)
    assert len(made) == 8 and loads(tmp_path / "here") == 1

    sweep("here", path, *cases, "window.l=3,5", "window.sf=2,3,4")
    assert len(cells(tmp_path) - made) == 4 and made < cells(tmp_path)
    assert {file: content(tmp_path)[file] for file in files} == files

    made, cases = cells(tmp_path), ["benchmark=world", "benchmark.cases=3"]
    grown = sweep("here", path, *cases, "window.l=3,5", "window.sf=2,3,4")
    assert len(cells(tmp_path) - made) == 6 and EARLIER not in grown.stdout
    assert {file: content(tmp_path)[file] for file in files} == files

    made = cells(tmp_path)
    plain = sweep("here", path, *cases, "method=none", "window.l=3,5,7", f"output_dir={tmp_path / 'plain'}")
    assert len(cells(tmp_path) - made) == 3
    assert "rows with the same videos, which are made once: l=3; l=5; l=7" in plain.stdout + plain.stderr

    made = cells(tmp_path)
    elsewhere = [f"backbone.path={random_wan.resolve()}", "device=cpu", "lossless=true"]
    shrunk = sweep("elsewhere", *elsewhere, *cases, "window.l=3,5", "window.sf=2,4")
    assert f"{EARLIER}l=3,sf=3, l=5,sf=3\n" in shrunk.stdout
    assert cells(tmp_path) == made and loads(tmp_path / "elsewhere") == 0
    assert len(list(tmp_path.glob("out/rows/*/cases/*/generated_lossless.mp4"))) == 12


@pytest.mark.slow
def test_nine_jobs_load_the_transformer_once(sweep, random_wan: Path, tmp_path: Path) -> None:
    plain = ["method=none", "backbone.frames=5"]
    sweep("here", f"backbone.path={random_wan}", *plain, "sampler.shift=1,2,3", "sampler.cfg_scale=2,3,4")
    assert len(cells(tmp_path)) == 9 and loads(tmp_path / "here") == 1
    assert loads(tmp_path / "here", "job") == 9
