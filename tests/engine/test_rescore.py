"""New scores of a study's videos: without the model, of the same pixels, in the table; nothing is generated."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvmt.engine.again import with_kept_also
from fastvmt.engine.loaded import Loaded
from fastvmt.engine.rescore import main
from fastvmt.files import read_json, write_json
from fastvmt.results.folder import RunFolder
from fastvmt.studies.merge_command import main as merge
from helpers.small_study import write_study


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


def test_a_second_rescoring_keeps_the_columns_of_the_first(study: Path) -> None:
    assert main([str(study), "metrics.also=[temporal_flickering]"]) == 0
    assert main([str(study), "metrics.also=[text_similarity]"]) == 0
    for run in study.glob("rows/*"):
        content = read_json(run / "result.json")
        assert {"temporal_flickering", "text_similarity"} <= set(content["scores"])
        assert content["overrides"][-1] == "metrics.also=[temporal_flickering,text_similarity]"
        assert content["config"]["metrics"]["also"] == ["temporal_flickering", "text_similarity"]


@pytest.mark.parametrize(
    ("own", "new", "wanted"),
    [
        ([], ["metrics.also=[a]"], ["metrics.also=[a]"]),
        (["a"], ["metrics.also=[b,a]", "metrics=fast"], ["metrics=fast", "metrics.also=[a,b]"]),
        (["a"], ["metrics.also=[b]", "+metrics.also=[c]"], ["metrics.also=[a,b,c]"]),
        (["a"], ["metrics=fast", "tracker=lk"], ["metrics=fast", "tracker=lk"]),
        (["a"], ["metrics.also=b"], ["metrics.also=b"]),
        (["a"], ["metrics.also=["], ["metrics.also=["]),
    ],
)
def test_further_scores_join_those_that_are_there(own: list[str], new: list[str], wanted: list[str]) -> None:
    assert with_kept_also(new, {"metrics": {"also": own}}) == wanted


@pytest.mark.parametrize("words", [["rerun=all"], ["overwrite=true"], ["trainer.limit_test_batches=1"]])
def test_how_cases_were_made_again_does_not_matter_to_their_pixels(
    words: list[str], small: list[str], tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study", small, *words)
    before = {run: RunFolder(run).records() for run in study.glob("rows/*")}
    assert main([str(study), "metrics.also=[temporal_flickering]"]) == 0
    for run, old in before.items():
        new = RunFolder(run).records()
        assert [record.frames_sha256 for record in new] == [record.frames_sha256 for record in old]
        assert all("temporal_flickering" in record.scores for record in new)
        assert words[0] in read_json(run / "result.json")["overrides"]


def parts(small: list[str], folder: Path, *seeds: int) -> list[Path]:
    """Studies of one case with a start seed each."""
    return [
        write_study(folder / f"part{seed}", small, "benchmark.cases=1", f"seeds=[{seed}]", f"cache_dir={folder}/cache")
        for seed in seeds
    ]


def test_a_merged_study_is_rescored_with_all_its_cases(small: list[str], tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert merge([*map(str, parts(small, tmp_path, 0, 1000)), "--into", str(whole)]) == 0
    before = {run: RunFolder(run).records() for run in whole.glob("rows/*")}
    assert main([str(whole), "metrics.also=[temporal_flickering]"]) == 0
    for run, old in before.items():
        new = RunFolder(run).records()
        assert [record.id for record in new] == [record.id for record in old] and len(new) == 2
        assert all("temporal_flickering" in record.scores for record in new)


def test_a_case_that_the_words_do_not_make_is_refused_before_anything_is_written(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study / "rows" / "method=none" / "result.json"
    content = read_json(file)
    content["overrides"] += ["seeds=[1000]"]
    write_json(file, content)
    before = {file: file.read_bytes() for file in study.rglob("*.json")}
    assert main([str(study), "metrics.also=[temporal_flickering]"]) == 2
    error = capsys.readouterr().err
    (first, _) = RunFolder(file.parent).records()
    assert f"case {first.id} is none that its words make, as " in error and "/s1000 is" in error
    assert error.count("\n") == 1
    assert {file: file.read_bytes() for file in study.rglob("*.json")} == before
