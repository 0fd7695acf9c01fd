"""Timings of a study: rows interleaved on one model, plain sampling beside, nothing else written."""

from __future__ import annotations

from pathlib import Path

import pytest

import fastvmt.engine.loaded
import fastvmt.engine.retime
import fastvmt.engine.session
from fastvmt.engine.retime import main
from fastvmt.files import read_json


def contents(*folders: Path) -> dict[Path, bytes]:
    """Every file below folders."""
    return {file: file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()}


def test_rows_take_turns_on_one_model_and_nothing_else_is_written(
    study: Path, small_study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order, loaded = list[tuple[str, str]](), list[str]()
    transfer, construct = fastvmt.engine.session.transfer_case, fastvmt.engine.loaded.construct

    def followed(backbone, method, sampler, case, cache, **named):  # type: ignore[no-untyped-def]
        order.append((method.name, case.id))
        return transfer(backbone, method, sampler, case, cache, **named)

    def counted(node, what, *rest, **named):  # type: ignore[no-untyped-def]
        loaded.append(what)
        return construct(node, what, *rest, **named)

    monkeypatch.setattr(fastvmt.engine.session, "transfer_case", followed)
    monkeypatch.setattr(fastvmt.engine.loaded, "construct", counted)
    before = {
        file: file.read_bytes()
        for file in (*study.rglob("*.*"), *small_study.glob("cache/cells/**/*.*"))
        if file.is_file()
    }
    assert main([str(study), "--repeats", "2", "--cases", "2"]) == 0
    assert "method=fastvmt" in capsys.readouterr().out
    assert loaded.count("backbone") == 1
    content = read_json(study / "timings.json")
    first, second = dict.fromkeys(sample["case"] for sample in content["samples"])
    turn = [("none", ""), ("fastvmt", ""), ("none", ""), ("none", "")]
    assert order == [(name, case) for case in (first, *(first, second) * 2) for name, _ in turn]
    assert [sample["row"] for sample in content["samples"][:2]] == ["method=fastvmt", "method=none"]
    guided, plain = content["rows"]
    assert (guided["n"], plain["n"]) == (4, 4) and guided["threads"] >= 1
    assert guided["ratio"] > 1.1 and 0.5 < plain["ratio"] < 2
    after = {
        file: file.read_bytes()
        for file in (*study.rglob("*.*"), *small_study.glob("cache/cells/**/*.*"))
        if file.is_file()
    }
    assert set(after) - set(before) == {study / "timings.csv", study / "timings.json"}
    assert {file: after[file] for file in before} == before


def test_a_folder_that_the_timings_could_not_go_to_is_told_before_anything_is_timed(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fastvmt.engine.retime, "open_rows", lambda _: pytest.fail("it was opened"))

    def told() -> str:
        assert main([str(study)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("fastvmt.retime: ") and error.count("\n") == 1
        return error

    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in fastvmt.engine.retime.WRITTEN:
        (study / name).mkdir()
        assert f"{study / name} is in the way" in told()
        (study / name).rmdir()
    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    assert f"{study} cannot be written to (Permission denied)" in told()


def test_bad_counts_and_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path), "--repeats", "0"])
    assert stopped.value.code == 2 and "--repeats" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "holds no finished run" in capsys.readouterr().err
