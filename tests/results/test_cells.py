"""Cells: later scores prove what they are, and what killed processes left goes."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fastvmt.results.cells import Cell, Cells, StoredScore
from fastvmt.results.folder import CaseFolder
from helpers.records import case_record

KEY = "ab" * 16
SCORE = StoredScore(1, "j", {"flicker": 0.985, "other": math.nan}, {"other": "why"})


def kept(tmp_path: Path, key: str = KEY) -> Cell:
    """A cell with a later score."""
    cells = Cells(tmp_path / "cells")
    source = CaseFolder(tmp_path / "case")
    source.path.mkdir(exist_ok=True)
    source.generated.write_bytes(b"video")
    cells.keep(key, source, case_record("a/p0/s0"), lambda _: None)
    cell = cells.find(key)
    assert cell is not None
    cell.keep("flicker", SCORE)
    return cell


def known(cell: Cell) -> list[StoredScore]:
    return cell.scores({"flicker": ("flicker", "other")}).get("flicker", [])


def test_later_scores_are_read_as_they_were_kept_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cell = kept(tmp_path)
    cell.keep("flicker", StoredScore(2, "j", {}, {}))
    first, second = known(cell)
    assert (first.version, first.judge, first.notes, second.version) == (1, "j", {"other": "why"}, 2)
    assert first.values["flicker"] == 0.985 and math.isnan(first.values["other"])
    assert not caplog.messages


def other_cell(line: bytes, tmp_path: Path) -> bytes:
    return kept(tmp_path, "cd" * 16).later.read_bytes().strip()


def unsealed(line: bytes, _: Path) -> bytes:
    return json.dumps({key: value for key, value in json.loads(line).items() if key != "checksum"}).encode()


@pytest.mark.parametrize(
    "damaged",
    [
        lambda line, _: line.replace(b"0.985", b"0.185"),
        lambda line, _: line.replace(b'"why"', b'"how"'),
        lambda line, _: line.replace(b'"version": 1', b'"version": 2'),
        lambda line, _: line[:-20],
        lambda line, _: line.replace(b"why", b"\xff"),
        lambda *_: b"\xff",
        lambda *_: b"[1]",
        lambda *_: b"null",
        lambda *_: b"{}",
        lambda *_: b"[" * 100_000,
        unsealed,
        other_cell,
    ],
)
def test_a_line_that_is_not_as_it_was_written_is_told_and_costs_itself_alone(
    tmp_path: Path, damaged, caplog: pytest.LogCaptureFixture
) -> None:
    cell = kept(tmp_path)
    cell.later.write_bytes(damaged(cell.later.read_bytes().strip(), tmp_path))
    assert known(cell) == []
    (line,) = caplog.messages
    assert line.startswith(f"{cell.later}: line 1 is passed over, its score computed again: ") and "\n" not in line
    cell.keep("flicker", SCORE)
    (found,) = known(cell)
    assert found.values["flicker"] == 0.985


def test_what_killed_processes_left_is_removed_when_a_cell_is_kept(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = tmp_path / "cells" / KEY[:2]
    dead, running, elsewhere = (
        folder / f".{KEY}.{host}.{process}"
        for host, process in ((socket.gethostname(), gone.pid), (socket.gethostname(), os.getppid()), ("far", gone.pid))
    )
    for left in (dead, running, elsewhere):
        left.mkdir(parents=True)
        (left / "generated.mp4").touch()
    kept(tmp_path)
    assert not dead.exists() and running.exists() and elsewhere.exists()
