"""The benchmark of the flow operator: its forms do what they say, and its files keep what other commands wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from experiments import speed, speed_gpu, speed_operator
from experiments.command_line import RESULTS
from experiments.random_wan import SIZES, RandomWan
from experiments.speed_gpu import PARTS, Limit, extrapolated, gpu_lines, gpu_record, peaks, predicted, transfers
from experiments.speed_loop import DEFAULT, PASS, PLAIN, frames_lines, frames_record, loop_lines, loop_record
from experiments.speed_loop import FORMS as LOOPS
from experiments.speed_loop import RELEASED as RELEASED_FORM
from experiments.speed_operator import DENSE, FORMS, OURS, RELEASED, TARGETS, Size, pair_count, ratios
from fastvmt.cost.peaks import guided
from fastvmt.motion.released import released_flow, released_pairs
from fastvmt.settings import Memory, Window

SMALL = Size(frames=4, height=9, width=10, channels=6, span=3, tile=(3, 4), side=5)
WORDS = "--frames 4 --height 9 --width 10 --channels 6 --span 3 --side 5 --repeats 1 --hardware the/tests"


def test_forms_of_one_flow_agree() -> None:
    q, k = SMALL.inputs(torch.device("cpu"))
    flows = {name: form(q, k, SMALL) for name, form in FORMS.items()}
    torch.testing.assert_close(flows[OURS], flows["windows picked from whole frames"])
    torch.testing.assert_close(flows["dense, all pairs"], flows["dense, all pairs, checkpointed"])
    assert {name: len(flow) for name, flow in flows.items()} == {name: pair_count(name, SMALL) for name in FORMS}
    whole = replace(SMALL, side=11)
    torch.testing.assert_close(FORMS[OURS](q, k, whole), flows[DENSE])


def test_the_released_form_is_the_released_flow() -> None:
    q, k = SMALL.inputs(torch.device("cpu"))
    pairs = tuple(sorted(released_pairs(4, 3, RELEASED)))
    window = Window(l=5, sf=3, tile=[3, 4], centre_gradient=False)
    expected, _ = released_flow(q, k, released_pairs(4, 3, RELEASED), SMALL.grid, SMALL.scale, window, RELEASED)
    assert len(pairs) == pair_count("released function", SMALL)
    found = FORMS["released function"](q, k, SMALL)
    torch.testing.assert_close(found, expected.flow_PS2)
    gradients = [torch.autograd.grad(flow.square().sum(), (q, k)) for flow in (found, expected.flow_PS2)]
    torch.testing.assert_close(gradients[0], gradients[1])


def test_ratios_are_of_the_forms_that_were_measured() -> None:
    rows = {OURS: {"cpu_seconds": 1.0, "peak_mb": 60.0}, DENSE: {"cpu_seconds": 2.0, "peak_mb": 100.0}}
    found = ratios(rows)
    assert [(row["ratio"], row["met"]) for row in found.values()] == [(0.6, False), (0.5, True)]
    assert len(TARGETS) == 4


@pytest.mark.slow
def test_the_command_writes_its_section_and_keeps_others(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed_operator, "get_context", lambda _: get_context("fork"))  # a process per form
    (tmp_path / "outputs").mkdir()
    file = tmp_path / "outputs" / "speed_the-tests.json"
    file.write_text(json.dumps({"another": {"kept": 1}, "operator": {"old": 1}}))
    speed.main(["operator", *WORDS.split(), "--forms", "ours", "within"])
    sections = json.loads(file.read_text())
    assert sections["another"] == {"kept": 1}
    record = sections["operator"]
    assert set(record["forms"]) == {OURS, DENSE}
    assert all(row["cpu_seconds"] > 0 and row["peak_mb"] >= 0 for row in record["forms"].values())
    assert set(record["ratios"]) == set(list(TARGETS)[:2])
    assert record["commit"] and record["hardware"]
    speed.main(["growth", *WORDS.replace("--frames 4", "--frames 5").split()])
    rows = json.loads(file.read_text())["growth"]["rows"]
    assert [(row["frames"], row["height"]) for row in rows[::2]] == [(5, 9), (5, 4), (5, 13)]
    table = file.with_suffix(".md").read_text()
    assert (
        table.startswith("# Speed on the/tests\n")
        and f"| {OURS} | 6 |" in table
        and f"| 5 | 13 x 15 | {DENSE} |" in table
    )
    assert not (RESULTS / "speed_the-tests.json").exists()


def test_the_full_size_script_runs_at_a_tiny_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    speed.main(["gpu", "--device", "cpu", "--sizes", "tiny", "tiny", "--hardware", "tests"])
    speed.main(["real", "--model", "tiny", "--hardware", "tests"])
    sections = json.loads((tmp_path / "outputs" / "speed_tests.json").read_text())
    full = sections["gpu"]
    assert full["weights"] == "random weights" and all("random" in full[part]["model"] for part in PARTS)
    assert set(full["peaks"]["found"]) == {"fast", "balanced", "low"}
    assert set(full["transfers"]["found"]["rows"]) == {PLAIN, DEFAULT, PASS, RELEASED_FORM}
    assert set(sections["real"]["rows"]) == {"torch.float32", "torch.bfloat16"}
    table = (tmp_path / "outputs" / "speed_tests.md").read_text()
    assert "**random weights**" in table and "extrapolated" in table and "predicted, GiB" in table


def test_parts_and_rows_that_begin_too_late_are_left_out_and_told() -> None:
    record = gpu_record("tiny", "tiny", torch.device("cpu"), minutes=0.0)
    assert all("left_out" in record[part] for part in PARTS)
    told = [line for line in gpu_lines(record) if line.endswith(": left out after 0.75 x 0 minutes.")]
    assert len(told) == len(PARTS)
    over = (SIZES["tiny"], torch.device("cpu"), torch.float32, Limit(0.0, "too late"))
    assert {row["left_out"] for row in peaks(*over).values()} == {"too late"}
    assert transfers(*over)["extrapolated"] == {}


def full(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_parts_and_rows_without_memory_are_told_and_the_others_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(backbone: object, case: object, name: str, words: object) -> dict[str, float]:
        return full() if name == RELEASED_FORM else {"wall_seconds": 1.0}

    monkeypatch.setattr(speed_gpu, "timed", timed)
    monkeypatch.setattr(speed_gpu, "two_gradients", full)
    record = gpu_record("tiny", "tiny", torch.device("cpu"), minutes=8.0)
    assert record["two_gradients"] == {"model": "tiny, random weights", "out_of_memory": True}
    assert record["transfers"]["found"]["rows"][RELEASED_FORM] == {"out_of_memory": True}
    assert set(record["transfers"]["found"]["extrapolated"]) == {PLAIN, DEFAULT, PASS}
    lines = gpu_lines(record)
    assert "tiny, random weights, two_gradients: out of memory." in lines
    assert f"| {RELEASED_FORM} | out of memory | - | - |" in lines
    memory = {name: row["predicted_gib"] for name, row in record["peaks"]["found"].items()}
    assert all(gib > 0 for gib in memory.values())
    assert f"| - | {memory['fast']:.2f} |" in next(line for line in lines if line.startswith("| fast |"))


def test_predictions_are_of_weights_and_a_gradient() -> None:
    backbone = RandomWan(SIZES["tiny"], torch.device("cpu"), torch.float32, Memory.low)
    numbers = sum(parameter.numel() for parameter in backbone.transformer.parameters())
    expected = 4 * numbers + guided(backbone.layout.block, 3 * 4 * 4, Memory.low, 4, blocks=1)
    assert predicted(backbone) * 2**30 == pytest.approx(expected)


def test_extrapolation_is_of_fifty_steps_and_ten_guided_ones() -> None:
    rows = {PLAIN: {"wall_seconds": 10.0}, DEFAULT: {"wall_seconds": 13.0}}  # 2 s a step, 3 s a guided one more
    found = extrapolated(rows, 5)
    assert found[PLAIN] == {"seconds": 100.0, "ratio": 1.0}
    assert found[DEFAULT] == {"seconds": 130.0, "ratio": 1.3}


def test_loops_of_all_forms_and_their_growth_with_frames() -> None:
    record = loop_record("tiny", list(LOOPS), torch.device("cpu"), 1, 5)
    rows = record["rows"]
    assert rows[PLAIN]["cpu_ratio"] == rows[PLAIN]["wall_ratio"] == 1.0
    assert rows[PLAIN]["block_backwards"] == 0 < rows[PASS]["block_backwards"] < rows[DEFAULT]["block_backwards"]
    assert rows["full depth"]["block_forwards"] > rows[DEFAULT]["block_forwards"]
    assert rows["shared pass, negative every 2"]["block_forwards"] < rows[PLAIN]["block_forwards"]
    assert len(loop_lines(record)) == 6 + len(LOOPS)
    grown = frames_record("tiny", [9, 17], torch.device("cpu"), 1, 5)
    assert [(row["frames"], row["height"]) for row in grown["rows"][::3]] == [(9, 64), (17, 64), (9, 32), (9, 96)]
    assert len(frames_lines(grown)) == 6 + len(grown["rows"])
