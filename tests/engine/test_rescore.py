"""New scores of a study's videos: without the model, of the same pixels, in the table; nothing is generated."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvmt.engine.loaded import Loaded
from fastvmt.engine.rescore import main
from fastvmt.files import read_json
from fastvmt.results.folder import RunFolder


def test_columns_appear_and_no_model_loads(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Loaded, "load", lambda _: pytest.fail("the model was loaded"))
    before = {run: RunFolder(run).records() for run in study.glob("rows/*")}
    assert main([str(study), "metrics.also=[temporal_flickering]"]) == 0
    assert "| row | n | gradients | temporal flickering |" in capsys.readouterr().out
    assert main([str(study), "metrics=fast"]) == 0
    table = read_json(study / "table.json")
    assert [row["row"] for row in table["rows"]] == ["method=fastvmt", "method=none"]
    for row in table["rows"]:
        assert {"gradients", "temporal_flickering", "text_similarity"} <= set(row["cells"])
        assert row["cells"]["text_similarity"]["n"] == 2
    for run, old in before.items():
        new = RunFolder(run).records()
        assert [record.frames_sha256 for record in new] == [record.frames_sha256 for record in old]
        assert [record.seconds for record in new] == [record.seconds for record in old]
        content = read_json(run / "result.json")
        assert content["overrides"][-2:] == ["metrics.also=[temporal_flickering]", "metrics=fast"]
        assert content["row"]["values"] == {"method": run.name.removeprefix("method=")}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["benchmark.cases=3"], "benchmark.cases=3 is not for rescoring"),
        (["guidance.lr=0.5"], "guidance.lr=0.5 is not for rescoring, whose words are of metrics"),
        (["tracker=nothing"], "tracker=nothing is no option of tracker"),
        (["output_dir=elsewhere"], "output_dir=elsewhere is not for rescoring"),
    ],
)
def test_what_would_have_to_be_generated_is_refused_in_one_line(
    study: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in study.rglob("*.json")}
    assert main([str(study), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastvmt.rescore: ") and error.count("\n") == 1 and told in error
    assert {file: file.read_bytes() for file in study.rglob("*.json")} == before


def test_a_case_without_pixels_is_named(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "rows/method=fastvmt/cases").rename(tmp_path / "elsewhere")
    assert main([str(study), "metrics=fast", f"cache_dir={tmp_path / 'empty'}"]) == 2
    (case, _) = RunFolder(study / "rows" / "method=fastvmt").records()
    assert f"method=fastvmt: case {case.id}: its pixels are not in" in capsys.readouterr().err


def test_a_row_of_another_configuration_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = study / "rows" / "method=fastvmt" / "result.json"
    file.write_text(file.read_text().replace("sampler.steps=3", "sampler.steps=4"))
    assert main([str(study), "metrics=fast"]) == 2
    assert "no longer make the configuration" in capsys.readouterr().err
