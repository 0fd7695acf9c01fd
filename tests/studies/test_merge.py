"""Studies that were made apart are as good as one; what contradicts is refused before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fastvmt.files import read_json
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import RunFolder
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
