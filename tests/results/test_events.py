"""A run's events: how it began and ended, whatever ended it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fastvmt.errors import UserError
from fastvmt.results.events import STARTED, Event, note, noted, read_events
from fastvmt.stopping import Stopped


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (UserError("skip.delta=9 must\nbe smaller"), "failed", "skip.delta=9 must be smaller"),
        (KeyError("block"), "failed", "KeyError: 'block'"),
        (Stopped(130), "interrupted", ""),
        (KeyboardInterrupt(), "interrupted", ""),
    ],
)
def test_what_ends_a_run_is_noted_and_passed_on(tmp_path: Path, error: BaseException, kind: str, told: str) -> None:
    note(tmp_path / "run", STARTED, cases=3)
    with pytest.raises(type(error)), noted(tmp_path / "run"):
        raise error
    start, end = read_events(tmp_path / "run")
    assert (start.kind, start.cases, start.running) == ("started", 3, True)
    assert (end.kind, end.error, end.running) == (kind, told, False)


def test_a_run_that_is_through_is_noted(tmp_path: Path) -> None:
    with noted(tmp_path):
        pass
    assert [event.kind for event in read_events(tmp_path)] == ["finished"]


def test_half_a_line_costs_that_line_only(tmp_path: Path) -> None:
    note(tmp_path, STARTED, cases=3)
    file = tmp_path / "events.jsonl"
    file.write_text(file.read_text()[:-20])
    note(tmp_path, "finished")
    assert [event.kind for event in read_events(tmp_path)] == ["finished"]


def test_a_folder_that_cannot_be_written_to_hides_no_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match="in the way"), noted(tmp_path / "run"):
        raise UserError("in the way")
    assert read_events(tmp_path / "run") == []


def test_a_process_that_is_gone_does_not_run_and_another_machine_s_may(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    note(tmp_path, STARTED)
    (event,) = read_events(tmp_path)
    assert event.running
    assert not Event(STARTED, event.time, event.host, gone.pid).running
    assert Event(STARTED, event.time, "elsewhere", gone.pid).running


def test_what_is_no_text_names_its_file(tmp_path: Path) -> None:
    note(tmp_path, STARTED)
    file = tmp_path / "events.jsonl"
    file.write_bytes(file.read_bytes() + b"\xff\n")
    with pytest.raises(ValueError, match=r"events\.jsonl is damaged: "):
        read_events(tmp_path)
