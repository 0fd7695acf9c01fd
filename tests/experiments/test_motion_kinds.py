"""Kinds of motion: how far points go, and what a reading of them agrees with."""

from __future__ import annotations

import pytest
import torch

from experiments.probes.motion_kinds import displacement, measure
from experiments.probes.motion_oracle import SIGMAS
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.construct import construct
from fastvmt.types import TransferCase, Truth, Video
from helpers.config import composed


def test_displacement_is_of_visible_object_points_in_tokens() -> None:
    frame = torch.arange(9.0)
    right, down = torch.stack([4 * frame, 0 * frame], -1), torch.stack([0 * frame, 12 * frame], -1)
    tracks = torch.stack([right, down, 100 * right, 100 * right])
    visible = torch.ones(4, 9, dtype=torch.bool)
    visible[2] = False
    truth = Truth(torch.zeros(2, 9, 2), tracks, visible, torch.tensor([0, 1, 0, -1]))  # the last is background's
    clip = Video(torch.zeros(9, 96, 96, 3, dtype=torch.uint8), 8.0)
    case = TransferCase("moving", clip, "", truth=truth)
    # five latent frames, two video frames apart, tokens of 8 pixels: (4 + 12) / 2 pixels a frame
    assert displacement(case, 2, 5, 1, 8.0) == pytest.approx(8 * 2 / 8)
    # four pairs of neighbours, three two apart, two three apart, one four apart
    assert displacement(case, 2, 5, 4, 8.0) == pytest.approx(2 * (4 * 1 + 3 * 2 + 2 * 3 + 1 * 4) / 10)


def test_travelling_objects_are_read_and_turning_ones_are_not() -> None:
    cfg = composed("method=fastvmt")
    backbone, method = construct(cfg.backbone, "backbone"), construct(cfg.method, "method")
    benchmark = WorldBenchmark(
        backbone.layout.clip, 8, 0, cases=4, categories=["single_object", "articulated"], seed=100
    )
    line, spin = benchmark[0], benchmark[3]
    kinds = measure(backbone, method, [line, spin])
    assert list(kinds) == ["articulated-spin", "single_object-line"]
    assert [row["clips"] for row in kinds.values()] == [1, 1]
    assert all(len(row["cosine"]) == len(SIGMAS) for row in kinds.values())
    turning, travelling = kinds.values()
    assert travelling["cosine"][0] > 0.9 > turning["cosine"][0]
    assert travelling["displacement"] > turning["displacement"]
