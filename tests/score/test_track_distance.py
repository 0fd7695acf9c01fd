"""Distances of tracks: closed forms, a second implementation, which points count."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fastvmt.score import TrackDistance, cotracker_distance, end_point_error
from fastvmt.score.sample import Sample
from fastvmt.score.track_distance import KINDS
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import Video
from helpers.stand_ins import pan

FORMULAS = {"epe": end_point_error, "ctd": cotracker_distance}


def looped(a: Tensor, b: Tensor, seen: Tensor) -> dict[str, float]:
    """Both, point by point."""
    rows = []
    for mine, theirs, visible in zip(a.numpy(), b.numpy(), seen.numpy(), strict=True):
        rows.append([math.dist(mine[t], theirs[t]) for t in range(1, len(mine)) if visible[t]])
    pooled = [value for row in rows for value in row]
    return {"epe": float(np.mean(pooled)), "ctd": float(np.mean([np.mean(row) for row in rows if row]))}


def test_a_second_implementation_agrees() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (torch.rand(40, 9, 2, generator=g) * 64 for _ in range(2))
    seen = torch.rand(40, 9, generator=g) < 0.4
    seen[0] = False  # never seen
    assert not seen.all(1).any()
    for kind, expected in looped(a, b, seen).items():
        assert FORMULAS[kind](a, b, seen) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_closed_forms(kind: str) -> None:
    points, seen = torch.rand(7, 5, 2), torch.ones(7, 5, dtype=torch.bool)
    away = points + 13 * torch.tensor([5, 12]) / 13
    assert FORMULAS[kind](points, points, seen) == 0
    assert FORMULAS[kind](away, points, seen) == pytest.approx(13)
    assert math.isnan(FORMULAS[kind](away, points, ~seen))
    with pytest.raises(ValueError, match=r"tracks of the same points are compared, got \(7, 5, 2\), \(6, 5, 2\)"):
        FORMULAS[kind](points, points[:6], seen[:6])


@pytest.mark.parametrize("kind", KINDS)
def test_a_pan_that_is_too_fast_falls_behind_by_half_its_way_on_average(kind: str) -> None:
    slow, fast = pan(1), pan(2)
    metric = TrackDistance(DisTracker(), kind)
    still, same, late = (metric.score(Sample(video, slow)) for video in (pan(0), slow, fast))
    assert same == {kind: 0, f"{kind}_diagonals": 0}
    for found in (still, late):  # 1 pixel a frame, over frames 1 to 8
        assert found[kind] == pytest.approx(4.5, abs=0.5)
        assert found[f"{kind}_diagonals"] == found[kind] / (64 * math.sqrt(2))
    metric.update([slow, fast], [0, 1], references=[slow, slow])
    assert metric.compute() == pytest.approx(late[kind] / 2) and metric.higher_is_better is False


def patch(step: int) -> Video:
    """A textured square that moves over a textured ground at rest."""
    ground, square = pan(0).frames_THWC.clone(), pan(0, 5).frames_THWC[0, :24, :24]
    for t in range(len(ground)):
        ground[t, 20:44, 12 + step * t : 36 + step * t] = 255 - square
    return Video(ground, 8.0)


def test_trajectories_are_the_subjects() -> None:
    epe, ctd = (TrackDistance(DisTracker(), kind) for kind in KINDS)
    sample = Sample(patch(0), patch(2))  # the square should move and rests
    mask = torch.zeros(9, 64, 64, dtype=torch.bool)
    mask[0, 25:39, 17:31] = True  # widened by 5 pixels
    chosen = ctd.score(replace(sample, foreground_THW=mask))["ctd"]
    assert chosen == pytest.approx(9, abs=2)  # 2 pixels a frame, over frames 1 to 8
    moving, all_points = ctd.score(sample)["ctd"], epe.score(sample)["epe"]
    assert chosen > moving > 1.5 * all_points  # ground beside the square seems to move too
    assert epe.score(replace(sample, foreground_THW=mask)) == epe.score(sample)


@pytest.mark.parametrize(
    ("kind", "video", "reference", "why"),
    [
        ("ctd", pan(2), pan(0), "no point of the reference to follow"),
        ("epe", pan(2), Video(torch.zeros(9, 64, 64, 3).byte(), 8.0), "the reference without texture to follow"),
    ],
)
def test_what_cannot_be_compared_has_a_reason(kind: str, video: Video, reference: Video, why: str) -> None:
    metric, sample = TrackDistance(DisTracker(), kind), Sample(video, reference)
    found = metric.score(sample)
    assert all(map(math.isnan, found.values())) and metric.reasons(sample, found)[kind] == why


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="kind=fde is out of range: it must be one of epe, ctd"):
        TrackDistance(DisTracker(), "fde")
    with pytest.raises(ValueError, match="motion is compared between videos of one size"):
        TrackDistance(DisTracker(), "epe").score(Sample(pan(1), Video(pan(1).frames_THWC[:, :32], 8.0)))
