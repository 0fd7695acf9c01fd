"""The table of the released code: pairing, differences, and a whole run on the random model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.released_table import SCORES, main, markdown, official_values, rows, summarise


def record(case: str, fidelity: float | None, guide: float = 2.0, seed: int = 0) -> dict:
    scores = dict.fromkeys(SCORES, 0.5) | {"motion_fidelity": fidelity}
    return {"id": case, "seed": seed, "scores": scores, "seconds": {"guide": guide}}


def test_rows_change_one_switch_each() -> None:
    table, values = rows(), official_values()
    assert len(values) == 11  # all but the reference's noise, which the code shares with the correct form
    assert [name for name in table if name.startswith("paper, ")] == [f"paper, {k}={v}" for k, v in values.items()]
    numbers = table["paper"][1:]
    for name, overrides in table.items():
        if name != "none":
            assert overrides[1 : 1 + len(numbers)] == numbers
            assert len(overrides) == 1 + len(numbers) + name.startswith("paper, ")


def test_differences_are_paired_with_the_papers_row() -> None:
    table = {
        "paper": [*(record(case, 0.4) for case in "abcdef"), record("g", None)],
        "official": [
            *(record(case, 0.1 + 0.02 * k, 3.0 + k) for k, case in enumerate("abcdef")),
            record("g", 0.9, 4.0),
        ],
        "none": [record(case, None) for case in "abcdefg"],
    }
    summary = summarise(table)
    mean, low, high, pairs = summary["official"]["minus_paper"]["motion_fidelity"]
    assert (mean, pairs) == (pytest.approx(-0.25), 6)
    assert -0.3 <= low < mean < high <= -0.2
    assert summary["official"]["mean"]["motion_fidelity"] == pytest.approx((0.9 + 0.9) / 7)
    assert summary["official"]["guide_seconds"] == pytest.approx((3 + 4 + 5 + 6 + 7 + 8 + 4) / 7)
    assert summary["none"]["mean"]["motion_fidelity"] is None
    assert summary["paper"]["minus_paper"]["text_similarity"][0] == 0.0
    text = markdown({"demo": summary}, "python -m x")
    lines = text.splitlines()
    assert "| paper | 0.400 | 0.500 | 0.500 | 0.500 | 2.00 |" in lines
    assert lines[-2].startswith(
        f"| official | 0.257 (-0.250: {low:+.3f}..{high:+.3f}) | 0.500 (+0.000: +0.000..+0.000) |"
    )
    assert lines[-1].startswith("| none | - | 0.500")


@pytest.mark.parametrize("other", [[record("b", 0.1)], [record("a", 0.1, seed=1)], []])
def test_rows_of_other_cases_are_refused(other: list[dict]) -> None:
    with pytest.raises(ValueError, match="row 'fork' holds other cases or seeds"):
        summarise({"paper": [record("a", 0.2)], "fork": other})


def test_unknown_rows_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--folder", str(tmp_path), "--results", str(tmp_path), "--rows", "offical"])
    assert "offical unknown; there are none, paper, fork, official" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_whole_table_on_the_random_model_resumes(random_wan: Path, tmp_path: Path) -> None:
    words = [
        f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "sampler.steps=2", "guidance.block=1",
        "guidance.iterations=2", "guidance.fraction=0.5", f"cache_dir={tmp_path / 'cache'}", "--cases", "2",
        "--folder", str(tmp_path / "runs"), "--results", str(tmp_path / "results"),
        "--rows", "official", "fork", "paper, offset=missing",
    ]  # fmt: skip
    main(words)
    result = json.loads((tmp_path / "results" / "released_table.json").read_text())
    assert result["command"].startswith("python -m experiments.released_table backbone.path=")
    assert {name: summary["paper"]["cases"] for name, summary in result["benchmarks"].items()} == {
        "demo": 1,
        "world": 2,
    }
    for summary in result["benchmarks"].values():
        assert list(summary) == ["paper", "fork", "official", "paper, offset=missing"]
        assert all(row["guide_seconds"] > 0 for row in summary.values())
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.mp4")}
    assert len(files) >= 12
    main(words)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.mp4")} == files
    assert json.loads((tmp_path / "results" / "released_table.json").read_text())["benchmarks"] == result["benchmarks"]
