"""What a run would cost, before it runs: passes against those of real runs, seconds against a calibration by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fastvmt.cost.calibration import Calibration, seconds_of
from fastvmt.engine import calibration
from fastvmt.engine.calibration import calibrated
from fastvmt.engine.fit import predicted
from fastvmt.engine.forecast import clock, forecast, forecast_table, levels
from fastvmt.engine.loaded import Shelf
from fastvmt.engine.plan import Plan, make_plan
from fastvmt.engine.run import run
from fastvmt.engine.session import Session
from fastvmt.solver import solver_of
from fastvmt.types import PassCounter
from helpers.config import composed

METHODS = {
    "none": [],
    "fastvmt": ["guidance.iterations=4", "skip.delta=2"],
    "ditflow": ["method.iterations=2"],
    "motion_director": ["method.tuning.iterations=2"],
}


@pytest.fixture
def plan_of(small: list[str]) -> Callable[..., Plan]:
    return lambda *changes: make_plan(composed(*small, "metrics=fast", "logger=none", *changes))


@pytest.mark.parametrize("method", METHODS)
def test_a_real_run_makes_the_planned_passes(session: Session, small: list[str], method: str) -> None:
    """And reads the reference beside them; FLOPs are those of the passes."""
    cfg = composed(*small, "metrics=fast", "logger=none", f"method={method}", *METHODS[method])
    running = session.under(cfg)
    told = forecast(running.plan)
    made = running.transfer_case(next(iter(running.plan.cases))).result.passes
    own = replace(made, block_forwards=made.block_forwards - made.reference_forwards, reference_forwards=0)
    assert own == told.passes
    assert made.reference_forwards == told.reading.block_forwards
    assert told.flops["forward"] > 0
    assert (told.flops["backward"] > 0) == (told.passes.block_backwards > 0)
    assert told.peaks == predicted(running.plan)


def test_seconds_are_passes_times_the_calibration() -> None:
    """An image takes a frame's share of a clip's time."""
    passes = PassCounter(100, 20, 2, image_forwards=10, image_backwards=5)
    assert seconds_of(passes, Calibration(1.0, 2.0), frames=5) == pytest.approx(90 + 10 / 5 + 2 * (15 + 5 / 5))


def test_prompts_and_seeds_share_a_reference(plan_of: Callable[..., Plan]) -> None:
    told = forecast(plan_of("benchmark=world", "benchmark.cases=4", "benchmark.prompts=2", "seeds=[0,1]"))
    assert (told.cases, told.references) == (8, 2)
    assert told.all_flops == pytest.approx(8 * told.flops["total"] + 2 * told.reading_flops["total"])


def test_a_reading_for_one_case_alone_counts_for_every_case(plan_of: Callable[..., Plan]) -> None:
    words = ("benchmark=world", "benchmark.cases=4", "benchmark.prompts=2", "method=fastvmt_released")
    shared, own = (forecast(plan_of(*words, f"method.switches.ref_noise={noise}")) for noise in ("independent", "init"))
    assert (shared.references, own.references) == (2, 4)
    assert shared.reading == own.reading


@pytest.mark.parametrize("words", [[], ["sampler.strength=0.7"], ["sampler.steps=3", "sampler.sigmas=[1.0,0.8,0.3]"]])
def test_levels_are_those_of_the_denoising(session: Session, plan_of: Callable[..., Plan], words: list[str]) -> None:
    plan = plan_of(*words)
    assert levels(plan) == pytest.approx(solver_of(session.backbone, plan.sampler)[0])


def test_a_calibration_is_of_the_loaded_model(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of()
    found = calibrated(plan, Shelf())
    assert isinstance(found, Calibration)
    assert found.forward > 0
    told = forecast(plan, found)
    assert told.seconds == seconds_of(told.passes, found, plan.layout.grid[0])
    assert told.reading_seconds == told.reading.block_forwards * found.forward > 0
    assert told.all_seconds == told.seconds * len(plan.cases) + told.reading_seconds * told.references
    assert told.reason == ""


def test_plans_of_one_model_are_calibrated_once(plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = calibration.load_backbone
    monkeypatch.setattr(calibration, "load_backbone", lambda *words: loaded.append(0) or load(*words))
    shelf, plans = Shelf(), [plan_of(), plan_of("skip.delta=1"), plan_of("threads=1"), plan_of("backbone.memory=low")]
    first, second, *others = [calibrated(plan, shelf) for plan in plans]
    assert first is second and len({id(each) for each in (first, *others)}) == len(loaded) == 3


def test_without_weights_it_says_so(small: list[str], random_wan: Path, tmp_path: Path) -> None:
    """JSON files alone are enough for everything else."""
    folder = shutil.copytree(random_wan, tmp_path / "model")
    for file in folder.glob("*/*.safetensors"):
        file.unlink()
    plan = make_plan(composed(*small, f"backbone.path={folder}"))
    told = forecast(plan, calibrated(plan, Shelf()))
    assert told.seconds is None
    assert "holds no weights" in told.reason
    assert told.peaks
    assert told.flops


def test_the_command_prints_it_and_runs_nothing(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(composed(*small, "plan=true", f"output_dir={out}")) == {}
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("block forwards", "PFLOP a case", "calibrated here", "MiB"):
        assert words in printed
    assert not list(out.glob("**/result.json"))


def test_a_table_without_a_calibration(plan_of: Callable[..., Plan]) -> None:
    cells = [str(cell) for column in forecast_table(forecast(plan_of())).columns for cell in column.cells]
    assert "not calibrated: no weights were loaded" in cells


@pytest.mark.parametrize(("seconds", "words"), [(3.21, "3.2 s"), (90, "1.5 min"), (5400, "1.5 h")])
def test_clock(seconds: float, words: str) -> None:
    assert clock(seconds) == words
