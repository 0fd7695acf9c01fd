"""Cosines of consecutive computed gradients, from the traces of a study."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.reuse import cosines, main, mean
from fastvmt.engine.run import run
from fastvmt.results.folder import RunFolder
from fastvmt.types import PassCounter
from helpers.config import composed
from helpers.studies import scored, write_run


def test_cosines_belong_within_a_step_or_to_the_next() -> None:
    trace = [
        {"step": 0, "reused": 0.0},
        {"step": 0, "reused": 1.0},
        {"step": 0, "reused": 0.0, "cosine": 0.5},
        {"step": 1, "reused": 0.0, "cosine": -0.25},
        {"step": 1, "reused": 0.0, "cosine": 0.75},
    ]
    assert cosines(trace) == {"within": [0.5, 0.75], "across": [-0.25]}
    assert cosines([]) == {"within": [], "across": []}
    tuning = [{"step": -1, "reused": 0.0}, {"step": -1, "reused": 0.0}]
    assert cosines([*tuning, *trace]) == cosines(trace)


def test_means_are_of_what_is_known() -> None:
    assert mean([1.0, math.nan, 3.0]) == 2 and math.isnan(mean([math.nan])) and math.isnan(mean([]))


def test_the_cosines_of_a_run_are_those_of_its_trace(
    random_wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "guidance.block=1"]
    words = ["method=fastvmt", "skip.delta=1", "guidance.fraction=1.0", "guidance.iterations=2", "sampler.steps=2"]
    fixed = ["benchmark=world", "benchmark.cases=1", "metrics=none", "logger=none", "cache_dir=null"]
    run(composed(*small, *words, *fixed, f"output_dir={tmp_path / 'out'}"))
    (folder,) = RunFolder(tmp_path / "out").cases()
    trace = folder.trace
    first, *others = folder.read_trace()
    assert "cosine" not in first and all(-1 <= row["cosine"] <= 1 for row in others)
    main([str(tmp_path / "out")])
    within, across, count = capsys.readouterr().out.splitlines()[-1].split(" | ")[1:]
    assert float(within) == pytest.approx(mean([others[0]["cosine"], others[2]["cosine"]]), abs=5e-3)
    assert float(across) == pytest.approx(others[1]["cosine"], abs=5e-3) and count == "3 |"
    lines = trace.read_text().splitlines()
    for damaged, told in (("\n".join(lines[:3]), "2 computed gradients, the case took 4"), ("a,b\nx,y\n", "damaged")):
        trace.write_text(damaged)
        with pytest.raises(ValueError, match=f"trace.csv .*{told}"):
            main([str(tmp_path / "out")])


def test_rows_without_gradients_have_none_and_no_study_is_an_error(tmp_path: Path) -> None:
    plain = [replace(record, passes=PassCounter()) for record in scored({"a": 0.5})]
    write_run(tmp_path / "rows" / "method=none", ["method=none"], plain, {"method": "none"})
    main([str(tmp_path), "--output", str(tmp_path / "reuse.md")])
    assert "| method=none | n/a | n/a | 0 |" in (tmp_path / "reuse.md").read_text()
    with pytest.raises(ValueError, match="holds no finished run"):
        main([str(tmp_path / "nothing")])
