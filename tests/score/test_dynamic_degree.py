"""The dynamic degree: the rule of its definition, and pans of known speed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastvmt.score.dense_flow import DisFlow
from fastvmt.score.dynamic import DynamicDegree, dynamic_degree, fastest, video_dynamics
from helpers.clips import pan


def test_dynamic_degree_rule() -> None:
    flow = np.random.default_rng(0).normal(size=(24, 32, 2)).astype(np.float32)
    lengths = np.sort(np.hypot(flow[..., 0], flow[..., 1]).ravel())[::-1]
    assert fastest(flow) == pytest.approx(lengths[: int(24 * 32 * 0.05)].mean(), rel=1e-6)
    limit = 6 * 480 / 256
    for frames, needed in ((4, 1), (6, 2), (8, 2), (10, 2), (14, 4), (16, 4)):  # round half to even
        for fast in range(frames):
            speeds = [limit + 0.1] * fast + [limit] * (frames - 1 - fast)  # the limit itself is not enough
            assert dynamic_degree(speeds, 480).moves == float(fast >= needed)
    assert dynamic_degree([0.0, 6.0, 3.0], 480).speed == pytest.approx(3)
    assert math.isnan(dynamic_degree([99.0, 99.0], 480).moves)


def test_dynamic_degree_of_pans() -> None:
    metric = DynamicDegree(DisFlow())
    videos = [pan(9, (8, 0)), pan(9, (1, 0)), pan(17, (4, 0), fps=16.0), pan(5, (8, 0), fps=16.0)]
    with pytest.warns(UserWarning, match=r"undefined for videos \[3\]"):  # 3 frames at 8 per second
        metric.update(videos, [0, 1, 2, 3])
    assert metric.per_sample()[1].nan_to_num(-1).tolist() == [1, 0, 1, -1]  # at 8 frames per second, 4 px are 8
    assert 7 < video_dynamics(videos[0], DisFlow()).speed < 10  # the fastest pixels, borders included
