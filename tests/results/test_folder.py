"""Reading the folders of runs: which cases are finished, and what becomes of damaged files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fastvmt.files import write_json
from fastvmt.results.case_record import VERSION
from fastvmt.results.folder import RunFolder
from helpers.records import case_record


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Two finished cases and one that was interrupted."""
    run = RunFolder(tmp_path)
    for name in ("a/p0/s0", "b/p0/s0"):
        write_json(run.case(name).record, case_record(name).to_json())
    run.case("c/p0/s0").path.mkdir()
    return run


def test_finished_cases_are_those_with_a_record(run: RunFolder) -> None:
    assert [record.id for record in run.finished()] == ["a/p0/s0", "b/p0/s0"]
    assert run.case("../../x").path.parent == run.path / "cases"
    record = case_record("a/p0/s0")
    assert run.case("a/p0/s0").finished(record.identity) == record
    others = ({"weights": "v"}, {"config": "d"}, {"case": "l"}, {"algorithm": 2}, {"judges": {"motion_fidelity": "i"}})
    for other in (*others, {"score_versions": {"motion_fidelity": 3}}):
        assert run.case("a/p0/s0").finished(case_record("a/p0/s0", **other).identity) is None


@pytest.mark.parametrize("damage", ["gone", "changed", "link", "folder"])
def test_a_case_whose_files_are_not_its_own_is_not_finished(run: RunFolder, damage: str, caplog) -> None:
    folder = run.case("a/p0/s0")
    folder.generated.write_bytes(b"video")
    record = case_record("a/p0/s0", files=folder.hashes())
    write_json(folder.record, record.to_json())
    assert record.files.keys() == {"generated.mp4"} and folder.finished(record.identity) == record
    assert folder.finished(record.identity, lossless=True) is None
    if damage == "changed":
        folder.generated.write_bytes(b"videx")
    else:
        folder.generated.rename(folder.path / "elsewhere")
    if damage == "link":
        folder.generated.symlink_to(folder.path / "elsewhere")
    if damage == "folder":
        folder.generated.mkdir()
    caplog.clear()
    assert folder.finished(record.identity) is None
    (line,) = caplog.messages
    assert str(folder.generated) in line and line.endswith("the case is not finished")
    assert [record.id for record in run.finished()] == ["b/p0/s0"]
    assert "the case is left out" in caplog.messages[1]
    assert run.in_the_way() == ([folder.generated] if damage in ("link", "folder") else [])


@pytest.mark.parametrize("content", ["", '{"version": 1', f'{{"version": {VERSION}}}', "[]", "\x00\x01"])
def test_a_damaged_record_is_set_aside_with_one_line(run: RunFolder, content: str, caplog) -> None:
    folder = run.case("a/p0/s0")
    folder.record.write_text(content)
    with caplog.at_level(logging.WARNING):
        assert folder.read() is None and folder.read() is None
    (line,) = caplog.messages
    assert str(folder.record) in line and "case.json.damaged" in line and "\n" not in line
    assert not folder.record.exists() and (folder.path / "case.json.damaged").read_text() == content
    assert [record.id for record in run.finished()] == ["b/p0/s0"]


def test_a_record_of_another_version_is_not_finished_and_stays(run: RunFolder, caplog) -> None:
    folder = run.case("a/p0/s0")
    write_json(folder.record, {"version": 1, "id": "a/p0/s0", "scores": {}})
    assert folder.read() is None and folder.record.exists() and not caplog.messages


def test_results_that_cannot_be_read_name_their_file(run: RunFolder) -> None:
    cases = [record.to_json() for record in run.finished()]
    write_json(run.result, {"version": VERSION, "cases": cases})
    assert [record.id for record in run.records()] == ["a/p0/s0", "b/p0/s0"]
    write_json(run.result, {"cases": cases})
    with pytest.raises(ValueError, match=rf"result\.json is of version None, not {VERSION}"):
        run.records()
    for change, message in (({"seed": "0"}, "seed is '0'"), ({"scores": {}}, "a/p0/s0 is not what was written")):
        write_json(run.result, {"version": VERSION, "cases": [cases[0] | change]})
        with pytest.raises(ValueError, match=rf"result\.json: .*{message}"):
            run.records()
    run.result.write_text('{"version": 1,')
    with pytest.raises(ValueError, match=r"result\.json is damaged: "):
        run.content()


def test_files_that_another_process_takes_away_while_they_are_read_are_not_there(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run.case("a/p0/s0")
    folder.generated.write_bytes(b"video")
    record = case_record("a/p0/s0", files=folder.hashes())
    monkeypatch.setattr("fastvmt.results.folder.is_plain", lambda _: True)
    folder.generated.unlink()
    assert folder.differing(record) == f"{folder.generated} is missing" and folder.hashes() == {}
    folder.record.unlink()
    assert folder.read() is None
