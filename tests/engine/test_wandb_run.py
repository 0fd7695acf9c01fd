"""One W&B run per row: repetitions, what a logger that fails costs, the user's own callbacks, what a run holds."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import lightning
import pytest
import wandb

from experiments.checks.fork import run_command
from fastvmt.engine.run import run
from fastvmt.engine.wandb_content import MOST, finite, inner_means, paper_axes, summary_of
from fastvmt.errors import UserError
from helpers.config import composed
from helpers.records import case_record
from helpers.wandb_log import contents


class Counted(lightning.Callback):
    """A user's own."""

    def on_test_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        trainer.logger.log_metrics({"mine": 3.0}, step=7)


class Denying(BaseHTTPRequestHandler):
    """A server that takes no key."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"errors":[{"message":"user is not logged in"}]}')

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def small_job(job: list[str]) -> list[str]:
    """One case of one guided step, no scores."""
    return [*job, "metrics=none", "sampler.steps=1", "guidance.fraction=1"]


def runs(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/*run-*-*"))


def test_no_key_at_all_ends_the_run_before_the_first_case(
    small_job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb.teardown()
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"logger\.mode=online: there is no API key.*logger\.mode=offline"):
        run(composed(*small_job, "logger.mode=online"))
    wandb.teardown()
    assert not list(tmp_path.glob("out/cases/*/case.json"))


def test_three_invocations_leave_one_run(small_job: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(composed(*small_job))
    first, (there,) = contents(out), runs(out)
    run(composed(*small_job))
    assert runs(out) == [there]  # nothing has changed: nothing is written
    run(composed(*small_job, "benchmark.cases=2"))
    grown = contents(out)
    assert [row["case/index"] for row in grown["history"] if "case/index" in row] == [0, 1]
    assert first["name"] == grown["name"] and first["exit_code"] == grown["exit_code"] == 0
    run(composed(*small_job, "threads=1", "benchmark.cases=2"))
    assert contents(out)["id"] == grown["id"]


def test_two_sets_of_cases_are_two_runs_of_w_and_b(small_job: list[str], tmp_path: Path) -> None:
    for seed in (0, 1):
        run(composed(*small_job, f"seed={seed}", f"output_dir={tmp_path / str(seed)}"))
    assert contents(tmp_path / "0")["id"] != contents(tmp_path / "1")["id"]


@pytest.mark.slow
def test_rows_of_a_sweep_have_the_same_media_and_one_run_each(small: list[str], tmp_path: Path) -> None:
    words = [*small, "metrics=none", "benchmark.cases=2", f"output_dir={tmp_path / 'own'}"]
    for values in ("1,2", "1,2", "1,2"):
        done = run_command(("run", "-m", *words, f"cache_dir={tmp_path / 'cache'}", f"skip.delta={values}"), tmp_path)
        assert done.code == 0, done.stderr
    found = [contents(row) for row in sorted(tmp_path.glob("own/rows/*"))]
    assert [(each["name"], each["exit_code"], each["summary"]["n"]) for each in found] == [("Δ=1", 0, 2), ("Δ=2", 0, 2)]
    media = [sorted(k for row in each["history"] for k in row if k.startswith("video/")) for each in found]
    assert media[0] == media[1] and len({key.split("/")[1] for key in media[0]}) == 2
    assert found[0]["id"] != found[1]["id"] and found[0]["group"] == found[1]["group"]


@pytest.mark.parametrize("dies", ["init", "log", "folder"])
def test_whatever_w_and_b_does_costs_one_warning(
    dies: str, small_job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def dead(*_: object, mode: str = "offline", **__: object) -> None:
        if mode != "disabled":
            raise BrokenPipeError("the service is gone")
        return opened(mode=mode)

    opened = wandb.init
    if dies == "folder":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "wandb").touch()
    else:
        monkeypatch.setattr(*((wandb, "init") if dies == "init" else (wandb.Run, "log")), dead)
    with caplog.at_level(logging.WARNING):
        run(composed(*small_job))
    told = [record.getMessage() for record in caplog.records if "Weights & Biases" in record.getMessage()]
    assert len(told) == 1 and "\n" not in told[0]
    assert len(json.loads((tmp_path / "out" / "result.json").read_text())["cases"]) == 1


def test_a_key_that_the_server_does_not_take_is_told_before_the_first_case(
    small_job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Denying)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wandb.teardown()
    for name, value in {"BASE_URL": f"http://127.0.0.1:{server.server_port}", "API_KEY": "a" * 40}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        run(composed(*small_job, "logger.mode=online"))
    wandb.teardown()
    server.shutdown()
    told = [record.getMessage() for record in caplog.records if "Weights & Biases" in record.getMessage()]
    assert len(told) == 1 and "user is not logged in" in told[0] and "kept offline" in told[0]
    assert contents(tmp_path / "out")["exit_code"] == 0


def test_callbacks_of_the_user_log_into_the_same_run(
    small_job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTVMT_PLUGINS", __name__.split(".")[0])
    monkeypatch.setattr("fastvmt.engine.trainer.construct", lambda node, key: Counted())
    words = "trainer.callbacks=[{_target_: fastvmt.engine.callback.RunCallback}]"
    run(composed(*small_job, words))
    run(composed(*small_job, words))
    found = contents(tmp_path / "out")
    assert [row["trainer/global_step"] for row in found["history"] if row.get("mine") == 3.0] == [7]
    assert found["summary"]["n"] == 1


def test_inner_curves_are_means_over_the_cases_that_have_them() -> None:
    traces = [[{"iteration": 0, "loss": 4.0}, {"iteration": 1, "loss": 2.0}], [{"iteration": 0, "loss": 2.0}]]
    means = [{"inner/iteration": 0, "inner/loss": 3.0}, {"inner/iteration": 1, "inner/loss": 2.0}]
    assert inner_means(traces) == means and inner_means([]) == []


def test_the_papers_numbers_become_axes() -> None:
    method = {"_target_": "x", "window": {"l": 5, "tile": [2, 3]}, "guidance": {"iterations": 6, "lr": 0.1}, "block": 3}
    assert paper_axes(method) == {"l": 5, "tile": "2x3", "J": 6, "block": 3}
    assert paper_axes({"_target_": "x", "iterations": None}) == {}


def test_a_summary_has_the_paired_difference_to_the_base_row() -> None:
    base = [case_record(f"r{i}", scores={"motion_fidelity": 0.1 * i}) for i in range(8)]
    mine = [case_record(f"r{i}", scores={"motion_fidelity": 0.1 * i + 0.2}) for i in range(8)]
    found = summary_of(mine, ["motion_fidelity"], base)
    assert [found[f"difference/motion_fidelity{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.2] * 3)
    few = summary_of(mine[:2], ["motion_fidelity"], base)
    assert few["difference/motion_fidelity"] == pytest.approx(0.2) and "difference/motion_fidelity_low" not in few
    assert not [name for name in summary_of(mine, ["motion_fidelity"], []) if name.startswith("difference")]


def test_a_summary_is_short_and_has_the_headline_first() -> None:
    scores = {f"score_{i}": float(i) for i in range(40)} | {"motion_fidelity": 0.5, "absent": float("nan")}
    found = summary_of([case_record("a", scores=scores)], ["motion_fidelity"], [])
    assert len(found) == MOST and found["motion_fidelity"] == 0.5 and found["n"] == 1
    assert "loop_ratio" not in found and found == finite(found)
    assert summary_of([case_record("a")], [], [case_record("a")])["loop_ratio"] == pytest.approx(1.0)
    moved = case_record("b", maker=case_record("b").maker | {"hardware": "another"})
    assert "loop_seconds" in summary_of([moved], [], [])
    for records, base in (([case_record("a"), moved], []), ([moved], [case_record("b")])):  # seconds of two machines
        assert not {"loop_seconds", "loop_cpu_seconds"} & summary_of(records, [], base).keys()


def test_a_relative_folder_is_the_run_s_own_whatever_service_writes(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service of the first run, begun in another place, is there for the second."""
    words = [*job, "metrics=none", "sampler.steps=1"]
    run(composed(*words))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run(composed(*words, "output_dir=here", f"cache_dir={tmp_path / 'cache'}"))
    assert contents(tmp_path / "elsewhere" / "here")["exit_code"] == 0
