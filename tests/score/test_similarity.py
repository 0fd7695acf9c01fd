"""CLIP scores with known vectors, and the state that all metrics share."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import fastvmt.torchvision_ops  # noqa: F401  before torchmetrics, which imports torchvision
from fastvmt.score.consistency import BackgroundConsistency
from fastvmt.score.functional import temporal_consistency, text_similarity
from fastvmt.score.motion_fidelity import MotionFidelity
from fastvmt.score.similarity import TemporalConsistency, TextSimilarity
from fastvmt.types import Video

LONG = "red as a rose"


class ColourEncoder:
    """Frames embed as their mean colour, prompts as the colour they begin with."""

    provenance = {"id": "colour"}

    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        return normalize(frames_TCHW.float().mean((2, 3)), dim=-1)

    def encode_text(self, prompts: list[str]) -> Tensor:
        return torch.stack([torch.eye(3)[["red", "green", "blue"].index(prompt.split()[0])] for prompt in prompts])

    def truncates(self, prompt: str) -> bool:
        return prompt == LONG


def colours(*rgb: tuple[int, int, int]) -> Video:
    frames = torch.tensor(rgb, dtype=torch.uint8)[:, None, None]
    return Video(frames.expand(-1, 4, 4, 3).contiguous(), 8.0)


def test_exact_means() -> None:
    video = colours((255, 0, 0), (0, 255, 0), (255, 255, 0))
    metric = TextSimilarity(ColourEncoder())
    metric.update([video, video], ["red", "blue"], [0, 1])
    red = (1 + 0 + 1 / math.sqrt(2)) / 3
    assert metric.per_sample()[1].tolist() == pytest.approx([red, 0])
    assert float(metric.compute()) == pytest.approx(red / 2)
    steady = TemporalConsistency(ColourEncoder())
    steady.update([video], [0])
    assert float(steady.compute()) == pytest.approx((0 + 1 / math.sqrt(2)) / 2)


def test_scale_and_prompts_that_are_too_long() -> None:
    video = colours((255, 0, 0), (0, 255, 0))
    metric = TextSimilarity(ColourEncoder(), scale=100)
    with pytest.warns(UserWarning, match="reads only the start"):
        metric.update([video, video, video], ["red", LONG, LONG], [0, 1, 2])
    assert metric.per_sample()[1].tolist() == pytest.approx([50, 50, 50])
    assert int(metric.n_truncated) == 2
    with pytest.raises(ValueError, match=r"metrics\.clip\.scale=0"):
        TextSimilarity(ColourEncoder(), scale=0)
    with pytest.warns(UserWarning, match="all black"):
        TextSimilarity(ColourEncoder()).score(colours((0, 0, 0), (0, 0, 0)), "red")


def test_frozen_video_is_consistent_and_scale_does_not_matter() -> None:
    frame = torch.randn(1, 512, generator=torch.Generator().manual_seed(0))
    assert float(temporal_consistency(frame.expand(9, -1))) == pytest.approx(1, abs=1e-6)
    frames = torch.randn(9, 512, generator=torch.Generator().manual_seed(1))
    assert float(text_similarity(3 * frames, frame[0])) == pytest.approx(float(text_similarity(frames, frame[0])))
    with pytest.raises(ValueError, match="at least 2 frames"):
        temporal_consistency(frame)


def test_undefined_scores_are_counted_and_left_out() -> None:
    video = colours((255, 0, 0), (255, 0, 0))
    metric = TextSimilarity(ColourEncoder())
    with pytest.warns(UserWarning, match=r"undefined for videos \[7\]"):
        metric.update([video, video], ["red", " "], [2, 7])
    assert float(metric.compute()) == pytest.approx(1)
    assert int(metric.n_invalid) == 1
    assert metric.per_sample()[1].isnan().tolist() == [False, True]
    with pytest.raises(ValueError, match="undefined"):
        TextSimilarity(ColourEncoder(), nan_policy="raise").update([video], [""], [0])
    with pytest.raises(ValueError, match="nan_policy='zero'"):
        TextSimilarity(ColourEncoder(), nan_policy="zero")
    only = TextSimilarity(ColourEncoder())
    with pytest.warns(UserWarning, match="left out"):
        only.update([video], [""], [0])
    assert only.compute().isnan()


def test_repeats_count_once_and_state_can_be_reset_and_pickled() -> None:
    metric = MotionFidelity(tracker=None)
    metric.record([0.5, 0.7], [4, 2])
    metric.record([0.7, 0.1], [2, 9])
    assert metric.per_sample()[0].tolist() == [2, 4, 9]
    assert float(metric.compute()) == pytest.approx((0.5 + 0.7 + 0.1) / 3)
    copy = pickle.loads(pickle.dumps(metric))
    assert copy.compute() == metric.compute()
    metric.reset()
    metric.record([0.25], [0])
    assert float(metric.compute()) == 0.25
    with pytest.raises(ValueError, match="one index per video"):
        metric.record([0.1], [])
    from torchmetrics import MetricCollection

    collection = MetricCollection({"a": copy, "b": metric}, compute_groups=False)
    assert set(collection.compute()) == {"a", "b"}


def test_frames_can_be_pooled_as_the_official_tool_does() -> None:
    metric = BackgroundConsistency(None, pool="frames")
    with pytest.warns(UserWarning, match="left out"):
        metric.record([1.0, 0.25, math.nan], [0, 1, 2], [2.0, 4.0, 9.0])
    assert float(metric.compute()) == pytest.approx((2 * 1 + 4 * 0.25) / 6)
    each = BackgroundConsistency(ColourEncoder(), pool="frames")
    videos = [colours((255, 0, 0), (0, 255, 0)), colours((255, 0, 0), (255, 0, 0), (255, 0, 0))]
    each.update(videos, [0, 1])
    assert float(each.compute()) == pytest.approx((0 + 1 + 1) / 3)  # the mean over all frames after the first
    with pytest.raises(ValueError, match="pool='cases'"):
        BackgroundConsistency(None, pool="cases")
