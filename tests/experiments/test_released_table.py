"""The table of the released code: pairing, differences, and a whole run on the random model."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.released_table import PAPER, SCORES, compared, main, markdown, official_values, rows
from experiments.rows import composed
from fastvmt.engine.plan import make_plan
from fastvmt.methods.base import Method
from fastvmt.motion.switches import Switches


def record(case: str, fidelity: float, guide: float = 2.0, seed: int = 0) -> SimpleNamespace:
    scores = dict.fromkeys(SCORES, 0.5) | {"motion_fidelity": fidelity}
    return SimpleNamespace(id=case, seed=seed, scores=scores, seconds={"guide": guide})


def test_rows_change_one_switch_each() -> None:
    table, values = rows(), official_values()
    assert len(values) == 11  # all but the reference's noise, which the code shares with the correct form
    assert [name for name in table if name.startswith("fastvmt, ")] == [f"fastvmt, {k}={v}" for k, v in values.items()]
    assert table["fastvmt"] == ["method=fastvmt", "window.sf=3", "guidance.window_weight=0.1"]
    for name, overrides in table.items():
        if name != "none":
            assert overrides[1:3] == table["fastvmt"][1:]
            further = overrides[3:]
            assert (further == PAPER) if name.startswith("paper's") else (len(further) == name.startswith("fastvmt, "))


def test_every_row_differs_from_the_base_in_what_it_says() -> None:
    configs = {name: composed(overrides) for name, overrides in rows().items()}
    assert configs["fastvmt"].guidance.head_reduce.value == "mean_logit"  # tiny-wan's own numbers
    for name in ("fastvmt", "fork", "official"):
        ours, theirs = configs[name].guidance, configs[f"paper's numbers, {name}"].guidance
        assert (theirs.rope, theirs.reference_noise, theirs.iterations, theirs.lr) == (True, 1.0, 10, 0.003)
        assert (ours.rope, ours.reference_noise, ours.iterations) == (False, 0.2, 6)
        assert (ours.window_weight, theirs.window_weight) == (0.1, 1.0)
        assert configs[f"paper's numbers, {name}"].window.tau == 1
        assert configs[f"paper's numbers, {name}"].method._target_ == configs[name].method._target_
    for name, cfg in configs.items():
        assert isinstance(make_plan(cfg).method, Method)
        if name.startswith("fastvmt, "):
            switch = name.removeprefix("fastvmt, ").split("=")[0]
            alone = asdict(Switches()) | {switch: official_values()[switch]}
            assert {key: cfg.method.switches[key] for key in alone} == alone


def test_differences_are_paired_with_the_base() -> None:
    ids = "abcdefg"
    table = {
        "fastvmt": [record(case, 0.5 if case != "g" else math.nan) for case in ids],
        "official": [record(case, 0.3, guide) for guide, case in enumerate(ids)],
        "none": [record(case, math.nan) for case in ids],
    }
    content = compared(table)
    assert content["official"]["minus_base"]["motion_fidelity"] == pytest.approx([-0.2, -0.2, -0.2, 6])
    assert content["official"]["n"]["motion_fidelity"] == 7
    assert content["official"]["guide_seconds"] == 3.0
    assert math.isnan(content["none"]["mean"]["motion_fidelity"])
    lines = markdown({"demo": content}, "python -m x").splitlines()
    assert lines[-3] == "| fastvmt | 0.500 | 0.500 | 0.500 | 0.500 | 2.00 |"
    assert lines[-2].startswith("| official | 0.300 (-0.200: -0.200..-0.200) | 0.500 (+0.000: +0.000..+0.000) |")
    assert lines[-1].startswith("| none | n/a | 0.500")
    few = compared({name: records[:2] for name, records in table.items()})  # too few for an interval
    assert "| official | 0.300 (-0.200: n/a) |" in markdown({"demo": few}, "python -m x")


@pytest.mark.parametrize("other", [[record("b", 0.1)], [record("a", 0.1, seed=1)], []])
def test_rows_of_other_cases_are_refused(other: list[SimpleNamespace]) -> None:
    with pytest.raises(ValueError, match="row 'fork' holds other cases or seeds"):
        compared({"fastvmt": [record("a", 0.2)], "fork": other})


def test_unknown_rows_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--folder", str(tmp_path), "--results", str(tmp_path), "--rows", "offical"])
    assert (
        "offical unknown; there are none, fastvmt, fork, official, paper's numbers, fastvmt" in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_whole_table_on_the_random_model_resumes(random_wan: Path, tmp_path: Path) -> None:
    words = [
        f"backbone.path={random_wan}",
        "backbone.height=48",
        "backbone.width=48",
        "sampler.steps=2",
        "guidance.block=1",
        "guidance.iterations=2",
        "skip.delta=2",
        "guidance.fraction=0.5",
        f"cache_dir={tmp_path / 'cache'}",
        "--cases",
        "2",
        "--folder",
        str(tmp_path / "runs"),
        "--results",
        str(tmp_path / "results"),
        "--rows",
        "official",
        "fork",
        "fastvmt, offset=missing",
    ]
    main(words)
    result = json.loads((tmp_path / "results" / "released_table.json").read_text())
    assert result["command"].startswith("python -m experiments.released_table backbone.path=")
    assert {name: summary["fastvmt"]["cases"] for name, summary in result["benchmarks"].items()} == {
        "demo": 1,
        "world": 2,
    }
    for summary in result["benchmarks"].values():
        assert list(summary) == ["fastvmt", "fork", "official", "fastvmt, offset=missing"]
        assert all(row["guide_seconds"] > 0 for row in summary.values())
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.mp4")}
    assert len(files) >= 12
    main(words)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.mp4")} == files
    assert json.loads((tmp_path / "results" / "released_table.json").read_text())["benchmarks"] == result["benchmarks"]
