"""Studies that were made apart are as good as one; what contradicts is refused before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fastvmt.files import read_json, write_json
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import RunFolder
from fastvmt.studies import merge as module
from fastvmt.studies.merge_command import main
from fastvmt.studies.table_command import make_table
from helpers.records import case_record
from helpers.studies import write_run

RECORDS = {
    l: [
        case_record(f"r{i}/p/s{s}", scores={"motion_fidelity": 0.1 * i + 0.01 * s + 0.02 * int(l)}, seed=s)
        for i in range(7)
        for s in (0, 1)
    ]
    for l in ("3", "5", "11")
}
"""A sweep's, by its swept value."""


def write_study(folder: Path, records: dict[str, list[CaseRecord]]) -> Path:
    """A study, with the files that its cases have."""
    for job, (l, found) in enumerate(records.items()):
        row = RunFolder(folder / "rows" / f"l={l}")
        write_run(row.path, [f"window.l={l}", "seed=1", f"output_dir={folder}"], found, {"window.l": l}, job)
        for record in found:
            row.case(record.id).path.mkdir(parents=True)
            row.case(record.id).generated.write_text(f"{l} {record.id}")
    return folder


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write_study(tmp_path / "whole", RECORDS)


def merged_equals(whole: Path, parts: list[Path], target: Path) -> None:
    """The parts, merged, make the whole's table and have its files."""
    assert main([*map(str, parts), "--into", str(target)]) == 0
    make_table([whole], None, whole)
    assert read_json(target / "table.json") == read_json(whole / "table.json")
    files = {file.relative_to(whole): file.read_text() for file in whole.rglob("*.mp4")}
    assert files == {file.relative_to(target): file.read_text() for file in target.rglob("*.mp4")}
    assert len(list(target.glob("rows/*/cases/*/case.json"))) == len(files)


def test_halves_by_cases_that_overlap_are_the_whole(whole: Path, tmp_path: Path) -> None:
    first = write_study(tmp_path / "a", {l: records[:8] for l, records in RECORDS.items()})
    second = write_study(tmp_path / "b", {l: records[6:] for l, records in RECORDS.items()})
    merged_equals(whole, [first, second], tmp_path / "merged")


def test_halves_by_rows_are_the_whole(whole: Path, tmp_path: Path) -> None:
    first = write_study(tmp_path / "a", {"3": RECORDS["3"], "5": RECORDS["5"]})
    second = write_study(tmp_path / "b", {"11": RECORDS["11"]})
    merged_equals(whole, [first, second], tmp_path / "merged")


def test_the_same_twice_is_itself(whole: Path, tmp_path: Path) -> None:
    merged_equals(whole, [whole, whole], tmp_path / "merged")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"frames_sha256": {"generated": "other"}}, "case r0/p/s0: "),
        ({"weights": "others"}, "case r0/p/s0: "),
        ({"id": "new/p/s0", "judges": {"motion_fidelity": "other"}}, "was scored otherwise in its parts"),
        ({"judges": {"motion_fidelity": "other"}}, "run python -m fastvmt.rescore on each alike"),
        ({"score_versions": {"motion_fidelity": 1}}, "run python -m fastvmt.rescore on each alike"),
    ],
)
def test_contradictions_are_refused_in_one_line(
    whole: Path, tmp_path: Path, changes: dict[str, object], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_study(tmp_path / "b", {"3": [replace(RECORDS["3"][0], **changes)]})  # type: ignore[arg-type]
    assert main([str(whole), str(other), "--into", str(tmp_path / "merged")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastvmt.merge: row l=3") and told in error and error.count("\n") == 1
    assert not (tmp_path / "merged").exists()


def test_other_settings_and_a_full_folder_are_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_study(tmp_path / "b", {"3": RECORDS["3"][:1]})
    file = other / "rows/l=3/result.json"
    file.write_text(file.read_text().replace('"config_hash": "c"', '"config_hash": "d"'))
    assert main([str(whole), str(other), "--into", str(tmp_path / "merged")]) == 2
    assert "row l=3 was made otherwise in" in capsys.readouterr().err
    assert main([str(whole), "--into", str(whole)]) == 2
    assert "it is not empty" in capsys.readouterr().err


def test_a_stopped_merge_leaves_no_rows_and_can_be_repeated(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, written = tmp_path / "merged", list[str]()

    def stopping(*given: object) -> None:
        written.append("a row")
        if len(written) == 2:
            raise KeyboardInterrupt
        write_row(*given)  # type: ignore[arg-type]

    write_row = module.write_row
    with monkeypatch.context() as stopped:
        stopped.setattr(module, "write_row", stopping)
        with pytest.raises(KeyboardInterrupt):
            main([str(whole), "--into", str(target)])
    assert not list(target.glob("rows/*")) and not list(target.rglob("table.*"))
    (target / module.UNFINISHED / "l=99").mkdir()
    merged_equals(whole, [whole], target)
    assert sorted(row.name for row in target.glob("rows/*")) == ["l=11", "l=3", "l=5"]
    assert not (target / module.UNFINISHED).exists()


def change(run: RunFolder, **changes: object) -> RunFolder:
    """Change keys of a row's result."""
    write_json(run.result, run.content() | changes)
    return run


def test_licences_of_all_parts_are_kept(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = {f"r{i}": {"origin": f"o{i}", "license": "CC0"} for i in range(3)}
    other = write_study(tmp_path / "b", {"3": RECORDS["3"][:1]})
    rows = [RunFolder(folder / "rows" / "l=3") for folder in (whole, other)]
    for run, name, own in zip(rows, ("one", "two"), (("r0", "r1"), ("r1", "r2")), strict=True):
        change(run, attribution={"name": name, "version": "1", "clips": {clip: clips[clip] for clip in own}})
    assert main([str(whole), str(other), "--into", str(tmp_path / "merged")]) == 0
    found = read_json(tmp_path / "merged" / "rows" / "l=3" / "result.json")["attribution"]
    assert found == {"name": "one and two", "version": "1", "clips": clips}
    assert read_json(tmp_path / "merged" / "rows" / "l=5" / "result.json")["attribution"] == {}
    change(rows[1], attribution={"name": "two", "version": "1", "clips": {"r0": {"origin": "x", "license": "none"}}})
    assert main([str(whole), str(other), "--into", str(tmp_path / "again")]) == 2
    error = capsys.readouterr().err
    assert "row l=3: clip r0: its parts say " in error and error.count("\n") == 1
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_files_that_are_not_what_was_written_are_told_and_whole_ones_preferred(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (write_study(tmp_path / name, {"3": RECORDS["3"][:2]}) for name in ("a", "b"))
    for study in (first, second):
        run = RunFolder(study / "rows" / "l=3")
        records = [replace(record, files=run.case(record.id).hashes()) for record in run.records()]
        change(run, cases=[record.to_json() for record in records])
    file = RunFolder(first / "rows" / "l=3").case("r0/p/s0").generated
    text = file.read_text()
    file.unlink() if damage == "gone" else file.write_text("other")
    assert main([str(first), "--into", str(tmp_path / "merged")]) == 0
    (line,) = caplog.messages
    assert line.startswith("row l=3: files of 1 of 2 cases: ") and str(file) in line
    caplog.clear()
    assert main([str(first), str(second), "--into", str(tmp_path / "both")]) == 0
    assert not caplog.messages
    assert RunFolder(tmp_path / "both" / "rows" / "l=3").case("r0/p/s0").generated.read_text() == text


def test_seeds_of_all_parts_are_the_rows_seeds(tmp_path: Path) -> None:
    parts = []
    for seed in (0, 1000):
        folder = tmp_path / f"s{seed}"
        words = ["window.l=3", f"seeds=[{seed}]", f"output_dir={folder}"]
        write_run(folder / "rows" / "l=3", words, [case_record(f"r0/p/s{seed}")], {"window.l": "3"}, seeds=[seed])
        parts.append(folder)
    assert main([*map(str, parts), "--into", str(tmp_path / "merged")]) == 0
    content = read_json(tmp_path / "merged" / "rows" / "l=3" / "result.json")
    assert content["overrides"] == ["window.l=3", "seeds=[0,1000]"] and content["config"]["seeds"] == [0, 1000]


def test_a_single_run_in_the_working_folder_is_a_row_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, [], [case_record("r0/p/s0")])
    monkeypatch.chdir(tmp_path / "a")
    assert main([".", "../b", "--into", "../w"]) == 0
    assert sorted(row.name for row in (tmp_path / "w" / "rows").iterdir()) == ["a", "b"]
