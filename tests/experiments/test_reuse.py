"""The table of intervals and rates: its rows, its cosines, and a run that goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from experiments import reuse
from experiments.json_lines import read_lines
from experiments.reuse import cosines, main, mean, rows, summary


def test_every_interval_with_every_rate_and_plain_sampling() -> None:
    table = rows()
    assert len(table) == 1 + 4 * 4 and table["none"] == ["method=none"]
    assert table["delta 3, lr 0.015"] == ["skip.delta=3", "guidance.lr=0.015", "guidance.lr_end=0.015"]


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


def test_means_are_of_what_is_known() -> None:
    assert mean([1.0, None, 3.0]) == 2 and math.isnan(mean([None]))
    none = {"row": "none", "id": "a", "cpu_seconds": 2.0, "cosines": {"within": [], "across": []}}
    guided = {
        "row": "delta 3, lr 0.01",
        "id": "a",
        "cpu_seconds": 3.0,
        "cosines": {"within": [0.5], "across": [0.1, 0.3]},
    }
    lines = [line | {"scores": dict.fromkeys(reuse.SCORES, 0.5)} for line in (none, guided)]
    row = summary(lines)["delta 3, lr 0.01"]
    assert (row["within"], row["across"], row["cpu"], row["cases"]) == (0.5, pytest.approx(0.2), 1.5, 1)


def test_a_run_goes_on_where_it_stopped(random_wan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "sampler.steps=2"]
    small += ["guidance.block=1", "guidance.fraction=1.0", "guidance.iterations=2"]
    chosen = {"none": ["method=none", *small], "delta 1": ["skip.delta=1", *small]}
    monkeypatch.setattr(reuse, "rows", lambda: chosen)
    monkeypatch.setattr(
        reuse, "config", lambda words, cases, folder, whole=reuse.config: whole([*words, *small], cases, folder)
    )
    words = ["--cases", "1", "--results", str(tmp_path), "--folder", str(tmp_path / "out")]
    main(words)
    lines = read_lines(tmp_path / "reuse.jsonl")
    assert [line["row"] for line in lines] == list(chosen)
    assert len(lines[1]["cosines"]["within"]) == 2 and len(lines[1]["cosines"]["across"]) == 1
    main(words)
    assert len(read_lines(tmp_path / "reuse.jsonl")) == 2
    assert json.loads((tmp_path / "reuse.json").read_text())["delta 1"]["cases"] == 1
    assert "| delta 1 |" in (tmp_path / "reuse.md").read_text()
