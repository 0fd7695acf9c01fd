"""The sweep beside busy loops: what its summary says, and that the loops end with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.checks import busy_sweep
from experiments.checks.busy_sweep import busy, main, summary
from fastvmt.studies.rows import read_rows
from helpers.records import case_record
from helpers.studies import write_run


def test_loops_of_both_rows_and_their_flags(tmp_path: Path) -> None:
    for delta, seconds in ((1, 6.0), (3, 4.0)):
        record = case_record("a", scores={})
        cost = replace(record.cost, cpu_seconds={"guide": seconds - 1, "denoise": 1.0, "decode": 9.0}, contended=True)
        word = f"skip.delta={delta}"
        values = {"skip.delta": str(delta)}
        write_run(tmp_path / "rows" / word, [word], [replace(record, cost=cost, device="cpu")], values, job=delta)
    found = summary(read_rows([tmp_path]))
    assert found == {
        "loop_cpu_seconds": {"delta=1": 6.0, "delta=3": 4.0},
        "ratio": 1.5,
        "contended": 2,
        "samples": 2,
    }


def test_busy_loops_end_with_their_context(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    popen = busy_sweep.subprocess.Popen

    def start(*args: object, **kwargs: object) -> object:
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(busy_sweep.subprocess, "Popen", start)
    with busy(2):
        assert [loop.poll() for loop in started] == [None, None]
    assert all(loop.returncode is not None for loop in started)


def test_a_wrong_count_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--cases", "0"])
    assert "--cases: 0 is out of range" in capsys.readouterr().err
