"""The report of a comparison: paired means, speedups, tuning told apart, and its pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.comparison import METHODS, picture
from experiments.comparison_report import (
    at_start,
    brief,
    markdown,
    overall,
    score_cell,
    summary,
    unpacked,
    write_report,
)
from experiments.markdown import ratio
from fastvmt.types import PassCounter, TransferCase, TransferResult, Video
from helpers.comparison_lines import line

REFERENCE = np.zeros((9, 96, 96, 3), np.uint8)


def content_of(rows: dict[str, list[dict]]) -> dict:
    return summary(rows, [line for lines in rows.values() for line in lines])


def references(method: str, values: list[float | None], **other: object) -> list[dict]:
    return [line(method, f"{'abcdefgh'[i]}/p0/s0", value, **other) for i, value in enumerate(values)]


def test_means_are_paired_with_fastvmt_and_counted() -> None:
    rows = {
        "none": references("none", [0.1] * 7, plain_seconds=6.0),
        "fastvmt": [*references("fastvmt", [0.5] * 7), line("fastvmt", "a/p0/s1", 0.9)],
        "ditflow": references("ditflow", [0.4, None, 0.4, 0.4, 0.4, 0.4, 0.4, 0.8]),
        "moft": references("moft", [0.5, 0.6]),
        "smm": [],
    }
    content = content_of(rows)
    fast, dit = content["fastvmt"], content["ditflow"]
    assert fast["scores"]["motion_fidelity"]["mean"] == pytest.approx((0.7 + 6 * 0.5) / 7)
    assert fast["scores"]["motion_fidelity"]["n"] == 7
    assert dit["scores"]["motion_fidelity"]["n"] == 7  # one is missing, one fastvmt has not
    gap = dit["minus_fastvmt"]["motion_fidelity"]
    assert gap["mean"] == pytest.approx(-0.1) and gap["n"] == 6 and gap["high"] < 0  # a/p0/s1 has no partner
    assert (
        score_cell(dit, "motion_fidelity", "ditflow")
        == f"{6 * 0.4 / 7 + 0.8 / 7:.3f} (7) **[-0.100: -0.100..-0.100; 6]**"
    )
    assert score_cell(content["moft"], "motion_fidelity", "moft") == "0.550 (2) [+0.050: n/a]"
    assert score_cell(content["smm"], "motion_fidelity", "smm") == "n/a (0)"
    assert score_cell(dit, "trajectory_cosine", "ditflow") == "n/a (0)"
    assert content["none"]["loop_to_none"]["average"] == 1 and fast["loop_to_none"]["average"] == 2
    assert math.isnan(content["smm"]["loop_to_none"]["average"])
    assert dit["seconds"]["loop"]["mean"] == 6 and dit["passes"]["gradients"] == 24
    assert fast["by_category"]["trajectory_cosine"]["camera"]["n"] == 0


def test_the_brief_table_is_sorted_and_marks_what_differs() -> None:
    rows = {
        "none": references("none", [0.1] * 7),
        "fastvmt": references("fastvmt", [0.5] * 7),
        "ditflow": references("ditflow", [0.62, None, *[0.62] * 5]),
        "moft": references("moft", [None] * 7),
        "det": [tuned("a/p0/s0", 224), line("det", "a/p1/s0", 0.9)],
    }
    rows["det"][0]["scores"]["motion_fidelity"] = 0.9
    head, _, *shown = brief(content_of(rows), ["motion_fidelity"])
    assert head == "| method | motion fidelity | loop / none | gradients | tuning s | tuning gradients |"
    assert shown == [
        "| `det` | 0.90 | 1.50 | 24 | 50 | 200 |",
        "| `ditflow` | **0.62 (6)** | 2.00 | 24 | - | - |",
        "| `fastvmt` | 0.50 | 2.00 | 24 | - | - |",
        "| `none` | **0.10** | 2.00 | 24 | - | - |",
        "| `moft` | n/a | 2.00 | 24 | - | - |",
    ]


def test_speedups_are_ratios_of_loops_on_shared_cases() -> None:
    slow, slower = (
        {"seconds": {"denoise": loop, "total": loop + 1}, "plain_seconds": plain}
        for loop, plain in ((9.0, 3.0), (30.0, 6.0))  # the last on a busy machine: as 15 of 3
    )
    rows = {
        "none": references("none", [0.1] * 7),
        "fastvmt": references("fastvmt", [0.5] * 7),  # 6 s
        "ditflow": references("ditflow", [0.5] * 8, **slow),
        "moft": [*references("moft", [0.5], **slow), line("moft", "b/p0/s0", **slower)],
    }
    for name, seconds in (("none", 4.0), ("fastvmt", 6.0)):
        rows[name] = [each | {"cpu_seconds": seconds} for each in rows[name]]
    content = content_of(rows)
    assert content["fastvmt"]["cpu_to_none"]["average"] == 1.5 and content["fastvmt"]["cpu_seconds"]["mean"] == 6
    assert math.isnan(content["ditflow"]["cpu_to_none"]["average"])  # lines of before have no CPU seconds
    assert content["ditflow"]["loop_to_fastvmt"] == {"average": 1.5, "geometric": pytest.approx(1.5), "n": 7, "lost": 1}
    assert ratio(content["moft"]["loop_to_fastvmt"]) == f"2.000, {math.sqrt(1.5 * 2.5):.3f} (2)"
    assert overall(content, ["ditflow", "moft", "smm"]).endswith("without tuning): 1.75 on average, 2.00 at most.")
    assert "over 1 baselines" in overall(content, ["ditflow"])
    assert "n/a" in overall(content, [])


def tuned(case: str, gradients: int) -> dict:
    seconds = {"tune": 50.0, "encode": 0.5, "denoise": 3.0, "decode": 0.5, "total": 54.0}
    passes = {"gradients": gradients, "block_forwards": 240 + 6 * gradients, "block_backwards": 6 * gradients}
    return line("det", case, seconds=seconds, passes=passes, declared_gradients=200)


def test_tuning_is_counted_once_per_reference_and_apart() -> None:
    after = {"seconds": {"encode": 0.5, "denoise": 5.0, "decode": 0.5, "total": 6.0}}
    free = {"gradients": 0, "block_forwards": 240, "block_backwards": 0}
    lines = [tuned("a/p0/s0", 200), line("det", "a/p1/s0", passes=free, declared_gradients=200, **after)]
    lines += [tuned("b/p0/s0", 50)]  # went on from a checkpoint
    lines += [{**line("det", "b/p1/s0"), "scores": {}, "error": "diverged"}]
    row = content_of({"det": lines})["det"]
    assert row["tuning_seconds"]["mean"] == 50 and row["tuning_seconds"]["n"] == 1
    assert row["tuning_gradients"] == 200
    assert row["passes"] == free
    assert row["seconds"]["loop"]["mean"] == pytest.approx((3 + 5 + 3) / 3)
    assert row["seconds"]["total"]["mean"] == pytest.approx((4 + 6 + 4) / 3)  # without the tuning
    assert row["failed"] == 1 and row["scores"]["motion_fidelity"]["n"] == 3
    elsewhere = summary({"det": lines[1:2]}, lines)["det"]  # tuned at another start
    assert elsewhere["tuning_seconds"]["n"] == 1 and elsewhere["tuning_gradients"] == 200
    never = content_of({"det": lines[1:2]})["det"]
    assert never["tuning_seconds"]["n"] == 0 and math.isnan(never["tuning_gradients"])


def test_starts_share_plain_sampling_and_further_motion_scores_get_a_column() -> None:
    lines = [line("none", "a/p0/s0"), line("fastvmt", "a/p0/s0"), line("fastvmt", "a/p0/s0", start=0.75)]
    lines[1]["scores"]["motion_fidelity_true"] = 0.7
    noise, common = (at_start(lines, ["none", "sdedit", "fastvmt"], start) for start in (1.0, 0.75))
    assert {m: len(rows) for m, rows in noise.items()} == {"none": 1, "fastvmt": 1}
    assert {m: len(rows) for m, rows in common.items()} == {"none": 1, "fastvmt": 1}
    text = markdown({1.0: content_of(noise), 0.75: content_of(common)}, ["none", "sdedit", "fastvmt"], "facts")
    assert "| motion fidelity true |" in text and "## Pure noise" in text and "## Strength 0.75" in text
    assert text.count("Not run yet: `sdedit`.") == 1 and "| sdedit |" not in text


def test_motion_fidelity_is_shown_with_what_it_is_to_be_read_with() -> None:
    lines = [line("fastvmt", f"{name}/p0/s0") for name in "abc"]
    for low, row in zip((1.0, 0.0), lines, strict=False):  # the third comes from an old log
        row["scores"] |= {"coverage": 0.3 - 0.2 * low, "low_coverage": low, "speed": 0.01}
    text = markdown({1.0: content_of({"fastvmt": lines})}, ["fastvmt"], "facts")
    after = text.split("Motion fidelity, to be read with:")[1].splitlines()
    head, row = (dict(enumerate(cell.strip() for cell in after[k].split("|"))) for k in (2, 4))
    cells = {head[k]: row[k] for k in head if head[k]}
    assert cells["coverage"] == "0.200 (2)" and cells["low coverage"] == "0.500 (2)" and cells["speed"] == "0.010 (2)"
    assert cells["coverage reference"] == cells["static fraction"] == "n/a (0)"


def generated() -> TransferResult:
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 12, 12, 3), np.uint8))
    video = Video(frames.repeat_interleave(8, 1).repeat_interleave(8, 2), 8.0)
    case = TransferCase("a/p0", video, "a dog")
    return TransferResult(case, video, {}, [], PassCounter(), torch.zeros(1))


def test_frames_survive_a_line() -> None:
    result = generated()
    frames = unpacked(picture(result))
    assert frames.shape == (5, 72, 72, 3)
    wanted = result.video.frames_THWC[::2, 4::8, 4::8].numpy().astype(float)
    assert np.abs(frames[:, 3::6, 3::6] - wanted).mean() < 30 < np.abs(frames[:, 3::6, 3::6] - wanted[::-1]).mean()


def test_report_of_few_lines_is_whole(tmp_path: Path) -> None:
    write_report(tmp_path, [], list(METHODS), ["det_tracking"], REFERENCE, "python -m x")
    assert {file.name for file in tmp_path.iterdir()} == {"comparison.md", "comparison.json"}
    frames = picture(generated())
    lines = [line(m, "a/p0/s0", start=1.0 if m == "none" else 0.75, frames=frames) for m in METHODS]
    write_report(tmp_path, lines, list(METHODS), ["det_tracking"], REFERENCE, "python -m x")
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["lines"] == len(METHODS) and list(content["starts"]) == ["1.0", "0.75"]
    assert list(content["starts"]["1.0"]) == ["none"] and list(content["starts"]["0.75"]) == list(METHODS)
    assert "Not run yet: `fastvmt`, `ditflow`" in (tmp_path / "comparison.md").read_text()
    assert (tmp_path / "comparison_seconds.png").exists()
    assert Image.open(tmp_path / "comparison_strip_1.png").size[1] == 2 * (72 + 6)
    strip = tmp_path / "comparison_strip_0.75.png"
    assert Image.open(strip).size[1] == (1 + len(METHODS)) * (72 + 6) and strip.stat().st_size < 300_000
