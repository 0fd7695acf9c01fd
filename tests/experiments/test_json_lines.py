"""The log that experiments append to."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from experiments.json_lines import append_line, read_lines


def many(path: Path, name: str) -> None:
    for number in range(50):
        append_line(path, {"name": name, "number": number, "text": "x" * 9000})


def test_processes_may_write_one_log(tmp_path: Path) -> None:
    log = tmp_path / "new" / "log.jsonl"
    started = [multiprocessing.get_context("fork").Process(target=many, args=(log, name)) for name in "ab"]
    for process in started:
        process.start()
    for process in started:
        process.join()
    rows = read_lines(log)
    for name in "ab":
        assert [r["number"] for r in rows if r["name"] == name] == list(range(50))


def test_a_line_that_was_cut_short_spoils_only_itself(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert read_lines(log) == []
    append_line(log, {"a": 1})
    with log.open("a") as stream:
        stream.write('{"a": 2, "b')
    append_line(log, {"a": float("nan")})
    with pytest.warns(UserWarning, match="line 2 is cut short"):
        assert read_lines(log) == [{"a": 1}, {"a": None}]
    assert json.loads(log.read_text().splitlines()[2]) == {"a": None}
