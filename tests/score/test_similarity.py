"""CLIP scores with known vectors, and the state that all metrics share."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import fastvmt.torchvision_ops  # noqa: F401  before torchmetrics, which imports torchvision
from fastvmt.score.consistency import TemporalConsistency, temporal_consistency
from fastvmt.score.flicker import TemporalFlickering
from fastvmt.score.similarity import TextSimilarity, text_similarity
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
    """A frame per colour, its lower half black: the mean has the colour's direction, and no frame is blank."""
    frames = torch.tensor(rgb, dtype=torch.uint8)[:, None, None].expand(-1, 4, 4, 3).contiguous()
    frames[:, 2:] = 0
    return Video(frames, 8.0)


def test_exact_means() -> None:
    video = colours((255, 0, 0), (0, 255, 0), (255, 255, 0))
    metric = TextSimilarity(ColourEncoder())
    metric.update([video, video], [0, 1], prompts=["red", "blue"])
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
        metric.update([video, video, video], [0, 1, 2], prompts=["red", LONG, LONG])
    assert metric.per_sample()[1].tolist() == pytest.approx([50, 50, 50])
    assert metric.report()["prompt_truncated"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match=r"metrics\.clip\.scale=0"):
        TextSimilarity(ColourEncoder(), scale=0)


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
        metric.update([video, video], [2, 7], prompts=["red", " "])
    assert float(metric.compute()) == pytest.approx(1)
    assert metric.per_sample()[1].isnan().tolist() == [False, True]
    only = TextSimilarity(ColourEncoder())
    with pytest.warns(UserWarning, match="left out"):
        only.update([video], [0])
    assert only.compute().isnan()


def test_repeats_count_once_and_state_can_be_reset_and_pickled() -> None:
    frames = torch.randint(0, 256, (4, 3, 4, 4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    videos = [Video(each, 8.0) for each in frames]
    metric = TemporalFlickering()
    metric.update(videos[:2], [4, 2])
    metric.update([videos[3], videos[2]], [2, 9])  # 2 again: the first stays
    expected = [metric.value(videos[k]) for k in (1, 0, 2)]
    assert metric.per_sample()[0].tolist() == [2, 4, 9] and metric.per_sample()[1].tolist() == expected
    assert float(metric.compute()) == pytest.approx(sum(expected) / 3)
    copy = pickle.loads(pickle.dumps(metric))
    assert copy.compute() == metric.compute()
    metric.reset()
    metric.update(videos[:1], [0])
    assert float(metric.compute()) == expected[1]
    with pytest.raises(ValueError, match="one index per video"):
        metric.update(videos[:1], [])
    from torchmetrics import MetricCollection

    collection = MetricCollection({"a": copy, "b": TextSimilarity(ColourEncoder())}, compute_groups=False)
    collection.reset()
    collection.update(videos[:1], [0], prompts=["red"])  # one call for all
    assert collection.compute()["a"] == expected[1]
