"""The picture of two motion fields: what its arrows and its words are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from fastvmt.engine.motion_plot import draw_row, heading, pixels, round_length
from fastvmt.types import MotionField, Video

VIDEO = Video(torch.zeros(5, 48, 96, 3, dtype=torch.uint8), 8.0)
FIELD = MotionField(torch.tensor([1.0, 0.5]).expand(2, 6 * 8, 2), ((0, 1), (1, 2)), (3, 6, 8))
"""Two latent frames apart: one token down, half a token to the right."""


def test_arrows_are_pixels_of_the_video_and_share_their_colours() -> None:
    flow = pixels(FIELD, VIDEO)
    assert flow.shape == (2, 6, 8, 2) and (flow == [6, 8]).all()  # tokens of 8 x 12 pixels
    axes = list(Figure().subplots(1, 2))
    arrows = draw_row(axes, VIDEO, flow, 2, "reference", 20.0)
    assert arrows.axes is axes[1] and axes[1].get_title() == "reference, frame 2"
    assert (arrows.U == 6).all() and (arrows.V == 8).all() and arrows.scale == 1 and arrows.angles == "xy"
    assert (np.asarray(arrows.get_array()) == 10).all() and arrows.get_clim() == (0, 20)
    assert arrows.XY[0].tolist() == [6, 4]  # the middle of the first token


@pytest.mark.parametrize(("longest", "length"), [(9.9, 5), (10, 10), (4.9, 2), (0.15, 0.1), (0.0, 1)])
def test_the_legends_arrow_has_a_round_length(longest: float, length: float) -> None:
    assert round_length(longest) == pytest.approx(length)


def test_the_heading_has_the_prompt_cut_and_the_scores_where_they_are_known() -> None:
    scores = {"motion_fidelity": 0.51234, "coverage": 0.4, "coverage_reference": 0.06, "low_coverage": 1.0}
    assert heading("a dog\non grass", None, 60) == heading("a dog on grass", {"speed": 1.0}, 60) == "a dog on grass"
    told = "when generated: motion fidelity 0.512*, coverage 0.060; * coverage below a fifth"
    assert heading("a dog", scores, 99).split("\n") == ["a dog", told]
    assert heading("a dog", {"motion_fidelity": float("nan")}, 99).endswith("motion fidelity n/a, coverage n/a")
    lines = heading("word " * 40, scores, 40).split("\n")
    assert lines[1].endswith("...") and max(map(len, lines)) <= 40 and len(lines) == 4
