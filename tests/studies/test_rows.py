"""What a row's ``result.json`` says is read strictly: what is not as it was written is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastvmt.studies.rows import READ
from fastvmt.studies.table_command import main
from helpers.studies import scored, write_run

KEYS = ["overrides", "row", "row.values", "row.job", "row.name", "config", "config.table.base", "cases"]
GROUPS = sorted({path.rpartition(".")[0] for path in READ})
PLACES = [*KEYS, *(f"config.{name}" for name in (*GROUPS, *READ))]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [3.5, "x", [1], {"a": [1]}, True], ids=str)
def test_a_value_of_another_type_is_told_by_file_and_key(
    place: str, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, ["seed=1"], scored({"a/p": 0.5}), {"window.l": "3"})
    file = tmp_path / "result.json"
    content = json.loads(file.read_text())
    *groups, key = place.split(".")
    node = content
    for group in groups:
        node = node.setdefault(group, {})
    node[key] = value
    file.write_text(json.dumps(content))
    code = main([str(tmp_path)])
    told = capsys.readouterr().err
    assert code in (0, 2) and told.count("\n") == (code == 2)
    if code == 2 and key not in ("score", "columns", "grid", "claims", "base"):  # of the right type, but not there
        assert str(file) in told and (key in told or key == "cases")


@pytest.mark.parametrize("cases", [[], None])
def test_a_run_without_a_case_is_told(cases: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, ["seed=1"], scored({"a/p": 0.5}))
    file = tmp_path / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"cases": cases}))
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"fastvmt.table: {file}: it has no case\n"
