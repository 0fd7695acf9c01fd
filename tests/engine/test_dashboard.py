"""The workspace of a study as it is described, and one line without its package or a server."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from fastvmt.engine.dashboard import headline_of, main, workspace
from fastvmt.studies.rows import read_rows
from helpers.studies import scored, write_run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two rows that differ in the window."""
    for i, side in enumerate((3, 5)):
        method = {"window": {"l": side, "sf": 2}}
        scores = {"speed": 0.1, "trajectory_cosine": 0.5}
        records = [replace(each, scores=each.scores | scores) for each in scored({"a/p": 0.5, "b/p": 0.6})]
        write_run(tmp_path / "s" / "rows" / f"l={side}", [], records, {"window.l": str(side)}, i, method=method)
    return tmp_path / "s"


def test_scores_of_the_headline_are_shown_in_the_order_of_the_records(study: Path) -> None:
    assert headline_of(read_rows([study])) == ["motion_fidelity", "trajectory_cosine"]


def test_a_workspace_has_axes_that_differ_the_trade_off_curves_and_videos(study: Path) -> None:
    pytest.importorskip("wandb_workspaces", reason='needs pip install "fastvmt[dashboard]"')
    found = workspace(read_rows([study]), "me", "fastvmt", "s")
    sections = {section.name: section.panels for section in found.sections}
    assert list(sections) == ["Scores", "Fidelity and cost", "Inner loss", "Videos"]
    text = found._to_model().model_dump_json()
    assert "paper.l" in text and "paper.sf" not in text
    for key in ("motion_fidelity", "trajectory_cosine", "loop_ratio", "inner/iteration", "video/a-p", "video/b-p"):
        assert key in text, key


def test_without_package_server_or_runs_there_is_one_line(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    there = importlib.util.find_spec("wandb_workspaces")
    for folder, said in ((study, "fastvmt[dashboard]" if there is None else "API key"), (tmp_path, "no finished run")):
        assert main([str(folder)]) == 2
        error = capsys.readouterr().err
        assert said in error.splitlines()[-1] and error.splitlines()[-1].startswith("fastvmt.dashboard: ")
