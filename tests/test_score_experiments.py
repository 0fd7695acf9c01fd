"""The arithmetic of the experiments on scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from experiments.score_check import CHANGES, changed, scores_of_clip, table
from experiments.score_speed import panning_clip
from experiments.tracker_truth import KINDS, agreement, compare, pairs, ranks, summarise
from fastvmt.backbones.layout import read_layout
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
    layout = read_layout("tiny-wan", name="tiny-wan", frames=9, height=96, width=96)
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
    rows = {"pan": scores_of_clip(clip, DisTracker())}
    assert set(rows["pan"]) == set(CHANGES)
    assert rows["pan"]["same"]["robust"] > 0.99 > 0.3 > rows["pan"]["reversed"]["robust"]
    assert math.isnan(rows["pan"]["frozen"]["compat_ditflow"])
    text = table(rows, "python -m x", "a note")
    assert text.count("| pan |") == len(CHANGES) and "n/a" in text
    assert torch.equal(changed(clip, "half speed").frames_THWC[3], clip.frames_THWC[1])
