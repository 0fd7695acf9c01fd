"""The comparison of all methods: which cells there are, which lines count, what the report says of them."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import comparison
from experiments.comparison import METHODS, Cell, Current, blocks, main, missing, picture, sift, starts_of
from experiments.cells import ratio
from experiments.comparison_report import (
    at_start,
    markdown,
    overall,
    score_cell,
    summary,
    unpacked,
    write_report,
)  # fmt: skip
from experiments.rows import composed, settings_hash
from fastvmt.backbones.layout import Layout, read_layout
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.benchmarks.world import MOST_PROMPTS
from fastvmt.types import PassCounter, TransferCase, TransferResult, Video
from fastvmt.world.motion import CATEGORIES
from fastvmt.world.vocabulary import OBJECTS, named

NAN = math.nan
REFERENCE = np.zeros((9, 96, 96, 3), np.uint8)
CURRENT = Current(
    "w", {"motion_fidelity": 2}, lambda method, start: f"{method}{start:g}", {"a/p0/s0": "A", "b/p0/s0": "B"}
)


def line(method: str, name: str, fidelity: float | None = 0.5, start: float = 1.0, **other: object) -> dict:
    """A line as a finished transfer writes it."""
    seconds = {"encode": 0.5, "guide": 2.0, "denoise": 4.0, "decode": 0.5, "total": 7.0}
    return {
        "method": method, "start": start, "seed": 0, "id": name, "category": "camera", "weights": "w",
        "score_versions": {"motion_fidelity": 2},
        "settings": f"{method}{start:g}", "case": name[0].upper(), "commit": "c", "device": "d", "threads": 1,
        "scores": {"motion_fidelity": fidelity, "trajectory_cosine": None}, "seconds": seconds,
        "passes": {"gradients": 24, "block_forwards": 300, "block_backwards": 96}, "plain_seconds": 3.0,
        "declared_gradients": 24, "peak_gib": {"resident": 0.5, "allocated": None}, **other,
    }  # fmt: skip


def world(prompts: int, cases: int, sample_seed: int = 0) -> list[TransferCase]:
    layout: Layout = read_layout("tiny-wan", name="tiny-wan", frames=3, height=48, width=48)
    return list(
        WorldBenchmark(layout, 8, sample_seed, cases=cases, categories=list(CATEGORIES), seed=0, prompts=prompts)
    )


# prompts per reference


def test_prompts_share_their_reference_and_name_new_objects() -> None:
    cases = world(MOST_PROMPTS, 4 * MOST_PROMPTS)
    for first in range(0, len(cases), MOST_PROMPTS):
        mine = cases[first : first + MOST_PROMPTS]
        assert [case.id for case in mine] == [f"{mine[0].id[:-3]}/p{i}" for i in range(MOST_PROMPTS)]
        assert all(torch.equal(case.reference.frames_THWC, mine[0].reference.frames_THWC) for case in mine)
        objects = [
            name for text in (mine[0].reference_prompt, *(c.prompt for c in mine)) for name in named(text, OBJECTS)
        ]
        assert len(objects) == len(set(objects)) == (1 + MOST_PROMPTS) * len(named(mine[0].prompt, OBJECTS))
    assert len({case.seed for case in cases}) == len(cases)


def test_more_prompts_change_no_earlier_one() -> None:
    one, three = world(1, 5), world(3, 15)
    for case, same in zip(one, three[::3], strict=True):
        assert same.id == f"{case.id}/p0" and same.prompt == case.prompt
        assert torch.equal(same.reference.frames_THWC, case.reference.frames_THWC)
    assert [case.prompt for case in three] == [case.prompt for case in world(3, 15)]
    assert [case.prompt for case in world(2, 4)] == [three[i].prompt for i in (0, 1, 3, 4)]


@pytest.mark.parametrize(("prompts", "cases"), [(0, 4), (3, 4), (MOST_PROMPTS + 1, 2 * (MOST_PROMPTS + 1))])
def test_impossible_numbers_of_prompts_are_refused(prompts: int, cases: int) -> None:
    with pytest.raises(
        ValueError, match=rf"benchmark.prompts={prompts} must be in 1 \.\. 7 and divide benchmark.cases="
    ):
        world(prompts, cases)


# cells and lines


def test_every_cell_once_and_all_methods_on_a_reference_before_the_next() -> None:
    cases = {seed: world(2, 8, 1000 * seed) for seed in (0, 1)}
    found = list(blocks(list(METHODS), [1.0, 0.75], cases))
    cells = [cell for block in found for cell in block]
    per_method = Counter(cell.method for cell in cells)
    assert per_method == {m: 8 * 2 * (1 if m in ("none", "sdedit") else 2) for m in METHODS}
    assert len({cell.key for cell in cells}) == len(cells)
    assert {(c.method, c.start) for c in cells if c.method in ("none", "sdedit")} == {("none", 1.0), ("sdedit", 0.75)}
    for block in found:
        assert len({(c.start, c.seed, c.case.id.split("/")[0]) for c in block}) == 1
        assert [c.method for c in block][::2] == [m for m in METHODS if block[0].start in starts_of(m, [1.0, 0.75])]
    noises = [{case.seed for case in cases[seed]} for seed in cases]
    assert not noises[0] & noises[1]


def test_plain_sampling_runs_whatever_the_starts() -> None:
    assert [c.key[:2] for block in blocks(["none", "sdedit"], [1.0], {0: world(2, 2)}) for c in block] == [
        ("none", 1.0)
    ] * 2
    assert starts_of("none", [0.75]) == [1.0] and starts_of("det", [0.75]) == [0.75]


def test_finished_lines_are_skipped_and_strangers_refused() -> None:
    lines = [
        line("moft", "a/p0/s0", 0.1), line("moft", "a/p0/s0", 0.2),
        line("moft", "b/p0/s0", weights="v"), line("smm", "a/p0/s0", settings="smm1, but otherwise"),
        line("smm", "b/p0/s0", case="other frames"), line("smm", "z/p0/s0"), line("magic", "a/p0/s0"),
        line("smm", "b/p0/s0", score_versions={"motion_fidelity": 1}),
    ]  # fmt: skip
    kept, refused = sift(lines, CURRENT)
    assert list(kept) == [("moft", 1.0, "a/p0/s0")]
    assert kept["moft", 1.0, "a/p0/s0"]["scores"]["motion_fidelity"] == 0.2  # the last
    assert refused == {"weights": 1, "definitions of scores": 1, "settings": 1, "cases": 2, "methods": 1}
    case = world(1, 1)[0]
    cells = [Cell(m, start, 0, replace(case, id="a/p0")) for m in ("moft", "smm") for start in (1.0, 0.75)]
    assert [cell.key[:2] for cell in missing(cells, kept)] == [("moft", 0.75), ("smm", 1.0), ("smm", 0.75)]


def test_settings_are_what_changes_results() -> None:
    base = settings_hash(composed(["method=moft"]))
    same = ["benchmark=world", "benchmark.cases=2", "seed=7", "output_dir=elsewhere", "cache_dir=null"]
    assert settings_hash(composed(["method=moft", *same])) == base
    for other in ("method.lr=0.5", "sampler.strength=0.75", "guidance.block=2", "sampler.steps=5", "metrics=fast"):
        assert settings_hash(composed(["method=moft", other])) != base, other


# the report


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
    content = summary(rows)
    fast, dit = content["fastvmt"], content["ditflow"]
    assert fast["scores"]["motion_fidelity"]["mean"] == pytest.approx((0.7 + 6 * 0.5) / 7)
    assert fast["scores"]["motion_fidelity"]["n"] == 7
    assert dit["scores"]["motion_fidelity"]["n"] == 7  # one is missing, one fastvmt has not
    gap = dit["minus_fastvmt"]["motion_fidelity"]
    assert gap["mean"] == pytest.approx(-0.1) and gap["n"] == 6 and gap["high"] < 0  # a/p0/s1 has no partner
    assert (
        score_cell(dit, "motion_fidelity", "ditflow") == f"{6 * 0.4 / 7 + 0.8 / 7:.3f} (7) **[-0.100: -0.100..-0.100]**"
    )
    assert score_cell(content["moft"], "motion_fidelity", "moft") == "0.550 (2) [+0.050: n/a]"
    assert score_cell(content["smm"], "motion_fidelity", "smm") == "n/a (0)"
    assert score_cell(dit, "trajectory_cosine", "ditflow") == "n/a (0)"
    assert content["none"]["loop_to_none"]["average"] == 1 and fast["loop_to_none"]["average"] == 2
    assert math.isnan(content["smm"]["loop_to_none"]["average"])
    assert dit["seconds"]["loop"]["mean"] == 6 and dit["passes"]["gradients"] == 24
    assert fast["trajectory_by_category"]["camera"]["n"] == 0


def test_speedups_are_ratios_of_loops_on_shared_cases() -> None:
    slow, slower = ({"seconds": {"denoise": loop, "total": loop + 1}} for loop in (9.0, 15.0))
    rows = {
        "none": references("none", [0.1] * 7),
        "fastvmt": references("fastvmt", [0.5] * 7),  # 6 s
        "ditflow": references("ditflow", [0.5] * 8, **slow),
        "moft": [*references("moft", [0.5], **slow), line("moft", "b/p0/s0", **slower)],
    }
    content = summary(rows)
    assert content["ditflow"]["loop_to_fastvmt"] == {"average": 1.5, "geometric": pytest.approx(1.5), "n": 7, "lost": 1}
    assert ratio(content["moft"]["loop_to_fastvmt"]) == f"2.000, {math.sqrt(1.5 * 2.5):.3f} (2)"
    assert overall(content).endswith("over 2 baselines (ratio of mean loop seconds): 1.75 on average, 2.00 at most.")
    assert "n/a" in overall(summary({name: rows[name] for name in ("none", "fastvmt")}))


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
    row = summary({"det": lines})["det"]
    assert row["tuning_seconds"]["mean"] == 50 and row["tuning_seconds"]["n"] == 1
    assert row["tuning_passes"] == {"gradients": 200, "block_forwards": 1200, "block_backwards": 1200}
    assert row["passes"] == free
    assert row["seconds"]["loop"]["mean"] == pytest.approx((3 + 5 + 3) / 3)
    assert row["seconds"]["total"]["mean"] == pytest.approx((4 + 6 + 4) / 3)  # without the tuning
    assert row["failed"] == 1 and row["scores"]["motion_fidelity"]["n"] == 3
    never = summary({"det": lines[1:2]})["det"]
    assert never["tuning_seconds"]["n"] == 0 and math.isnan(never["tuning_passes"]["gradients"])


def test_starts_share_plain_sampling_and_further_motion_scores_get_a_column() -> None:
    lines = [line("none", "a/p0/s0"), line("fastvmt", "a/p0/s0"), line("fastvmt", "a/p0/s0", start=0.75)]
    lines[1]["scores"]["motion_fidelity_true"] = 0.7
    noise, common = (at_start(lines, ["none", "sdedit", "fastvmt"], start) for start in (1.0, 0.75))
    assert {m: len(rows) for m, rows in noise.items()} == {"none": 1, "fastvmt": 1}
    assert {m: len(rows) for m, rows in common.items()} == {"none": 1, "fastvmt": 1}
    text = markdown({1.0: summary(noise), 0.75: summary(common)}, ["none", "sdedit", "fastvmt"], "facts")
    assert "| motion fidelity true |" in text and "## Pure noise" in text and "## Strength 0.75" in text
    assert text.count("Not run yet: `sdedit`.") == 1 and "| sdedit |" not in text


def test_motion_fidelity_is_shown_with_what_it_is_to_be_read_with() -> None:
    lines = [line("fastvmt", f"{name}/p0/s0") for name in "abc"]
    for low, row in zip((1.0, 0.0), lines, strict=False):  # the third comes from an old log
        row["scores"] |= {"coverage": 0.3 - 0.2 * low, "low_coverage": low, "speed": 0.01}
    text = markdown({1.0: summary({"fastvmt": lines})}, ["fastvmt"], "facts")
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


# all together


@pytest.mark.slow
def test_a_comparison_goes_on_from_its_lines_alone(random_wan: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    tuning = ["method.tuning.iterations=2", "method.blocks=[1]"]
    monkeypatch.setitem(comparison.ROWS, "motion_inversion", [*METHODS["motion_inversion"], *tuning])
    monkeypatch.setattr(comparison, "REFERENCES", 5)
    words = [
        f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "sampler.steps=2", "guidance.block=1",
        "guidance.iterations=2", "guidance.fraction=0.5", "metrics=fast", "--references", "1", "--seeds", "0",
        "--folder", str(tmp_path / "out"), "--results", str(tmp_path), "--methods", "none", "motion_inversion",
    ]  # fmt: skip
    main([*words, "--starts", "1.0"])
    rows = [json.loads(text) for text in (tmp_path / "comparison.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == ["none", "none", "motion_inversion", "motion_inversion"]
    assert ["tune" in row["seconds"] for row in rows] == [False, False, True, False]  # once for both prompts
    assert rows[0]["plain_seconds"] == pytest.approx(rows[0]["seconds"]["denoise"])
    assert rows[2]["plain_seconds"] == rows[3]["plain_seconds"] > 0
    assert "[4/4] motion_inversion from 1, 00-000-single_object-scale/p1/s0: " in capsys.readouterr().out

    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(comparison.Bench, "line", lambda *a, **k: pytest.fail("ran again"))
    main([*words, "--starts", "1.0"])
    assert "4 lines" in capsys.readouterr().out
    with pytest.raises(pytest.fail.Exception, match="ran again"):  # the other start is missing
        main([*words, "--starts", "0.75"])
    (tmp_path / "comparison.jsonl").write_text("".join(json.dumps({**row, "weights": "old"}) + "\n" for row in rows))
    main([*words, "--report"])
    printed = capsys.readouterr().out
    assert "4 lines of" in printed and "come from other weights: not used" in printed and "\n0 lines" in printed
    with pytest.raises(pytest.fail.Exception, match="ran again"):
        main([*words, "--starts", "1.0"])
