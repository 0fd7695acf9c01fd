"""The arithmetic of the experiments on scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from experiments.checks.score_check import CHANGES, band_lines, band_of, changed, markdown, scores_of_clip, verdicts
from experiments.checks.tracker_truth import KINDS, agreement, compare, pairs, ranks, summarise
from experiments.score_speed import panning_clip
from fastvmt.backbones.wan import WanBackbone
from fastvmt.files import finite
from fastvmt.score.scores import Scores
from fastvmt.trackers.dis import DisTracker


def test_ranks_and_agreement() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 7.0])).tolist() == [1.5, 0, 1.5, 3]
    true = [0.1, 0.4, 0.2, math.nan, 0.9]
    found = agreement([0.2, 0.6, 0.3, 0.5, 5.0], true)
    assert found["rank_correlation"] == pytest.approx(1) and found["pairs"] == 4
    assert found["mean_absolute_difference"] == pytest.approx((0.1 + 0.2 + 0.1 + 4.1) / 4)
    x, y = np.random.default_rng(0).permutation(30), np.random.default_rng(1).permutation(30)
    spearman = 1 - 6 * ((x - y) ** 2).sum() / (30 * (30**2 - 1))  # without ties
    assert agreement(list(x), list(y))["rank_correlation"] == pytest.approx(spearman)


def test_truth_orders_the_kinds_of_pairs() -> None:
    layout = WanBackbone.layout_of("tiny-wan", name="tiny-wan", frames=9, height=96, width=96, max_tokens=16)
    rows = [
        {"kind": kind, "category": category, "scores": compare(generated, reference, DisTracker())}
        for kind, category, generated, reference in pairs(layout, 4)
    ]
    assert len(rows) == 12 and {row["kind"] for row in rows} == set(KINDS)
    summary = summarise(rows)
    assert summary["mean of re-rendered, true"]["dynamic"] > 0.95
    assert summary["mean of re-rendered, true"]["dynamic"] > summary["mean of reversed, true"]["dynamic"]
    assert summary["same points, dynamic"]["rank_correlation"] > 0.5


def test_check_of_a_panning_clip() -> None:
    clip = panning_clip(9, 96, 96)
    assert torch.equal(clip.frames_THWC[2, 0, :90], clip.frames_THWC[0, 1, 2:92])
    steadiness = Scores(DisTracker(), ["temporal_flickering", "motion_smoothness_flow"], {})
    rows = {"pan": scores_of_clip(clip, DisTracker(), steadiness)}
    assert set(rows["pan"]) == set(CHANGES)
    for form in ("robust", "paper", "compat_smm", "compat_det"):
        assert rows["pan"]["same"][form] > 0.95 > 0.5 > rows["pan"]["reversed"][form], form
    assert math.isnan(rows["pan"]["frozen"]["compat_ditflow"])
    assert rows["pan"]["frozen"]["temporal_flickering"] == 1 > rows["pan"]["same"]["temporal_flickering"]
    text = markdown({"command": "python -m x", "tracker": "dis", "rows": finite(rows)})
    assert text.count("| pan |") == len(CHANGES) and "n/a" in text and "- reversed, -1..0.35: holds on pan -" in text
    assert torch.equal(changed(clip, "half speed").frames_THWC[3], clip.frames_THWC[1])


def test_bands_are_told_from_the_values() -> None:
    def clip(static: float, **values: float) -> dict[str, dict[str, float]]:
        values = {"same": 1.0} | {name.replace("_", " "): value for name, value in values.items()}
        return {change: {"robust": value, "static_fraction": static} for change, value in values.items()}

    rows = {
        "moves": clip(0.1, restyled=0.99, reversed=0.36, half_speed=0.47),
        "rests": clip(0.5, restyled=0.94, reversed=0.9),
        "camera-pan-down": clip(0.0, mirrored=1.0, reversed=-0.9),
    }
    found = verdicts(rows)
    assert found == {
        ("moves", "restyled"): ("0.98..1", True),
        ("moves", "reversed"): ("-1..0.35", False),
        ("moves", "half speed"): ("0.45..0.5", True),
        ("rests", "restyled"): ("0.93..1", True),
        ("camera-pan-down", "reversed"): ("-1..0.35", True),
    }
    assert "- reversed, -1..0.35: holds on camera-pan-down -0.90; fails on moves 0.36" in band_lines(rows)
    assert band_of("moves", "mirrored", 0.1) and not band_of("camera-pan-down", "mirrored", 0.1)
