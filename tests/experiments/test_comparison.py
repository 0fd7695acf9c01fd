"""The comparison of all methods: which cells there are, which lines count, and a run that goes on."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments import comparison
from experiments.comparison import METHODS, Cell, Current, blocks, main, missing, sift, starts_of
from experiments.rows import composed, settings_hash
from fastvmt.backbones.layout import Layout
from fastvmt.backbones.wan import WanBackbone
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.benchmarks.world import MOST_PROMPTS
from fastvmt.types import TransferCase
from fastvmt.world.motion import CATEGORIES
from fastvmt.world.vocabulary import OBJECTS, named
from helpers.comparison_lines import line

CURRENT = Current(
    "w", {"motion_fidelity": 2}, lambda method, start: f"{method}{start:g}", {"a/p0/s0": "A", "b/p0/s0": "B"}
)


def world(prompts: int, cases: int, sample_seed: int = 0) -> list[TransferCase]:
    layout: Layout = WanBackbone.layout_of("tiny-wan", name="tiny-wan", frames=3, height=48, width=48, max_tokens=16)
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
        line("moft", "a/p0/s0", 0.1),
        line("moft", "a/p0/s0", 0.2),
        line("moft", "b/p0/s0", weights="v"),
        line("smm", "a/p0/s0", settings="smm1, but otherwise"),
        line("smm", "b/p0/s0", case="other frames"),
        line("smm", "z/p0/s0"),
        line("magic", "a/p0/s0"),
        line("smm", "b/p0/s0", score_versions={"motion_fidelity": 1}),
    ]
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


@pytest.mark.slow
def test_a_comparison_goes_on_from_its_lines_alone(random_wan: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    tuning = ["method.tuning.iterations=2", "method.blocks=[1]"]
    monkeypatch.setitem(comparison.ROWS, "motion_inversion", [*METHODS["motion_inversion"], *tuning])
    monkeypatch.setattr(comparison, "REFERENCES", 5)
    words = [
        f"backbone.path={random_wan}",
        "backbone.height=48",
        "backbone.width=48",
        "sampler.steps=2",
        "guidance.block=1",
        "guidance.iterations=2",
        "guidance.fraction=0.5",
        "metrics=fast",
        "--references",
        "1",
        "--seeds",
        "0",
        "--folder",
        str(tmp_path / "out"),
        "--results",
        str(tmp_path),
        "--methods",
        "none",
        "motion_inversion",
    ]
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
