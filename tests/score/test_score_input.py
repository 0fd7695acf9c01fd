"""No score answers to bad input: it is refused, or the value is undefined and counted, never a number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fastvmt.score
from fastvmt.score.aesthetic import AestheticQuality
from fastvmt.score.consistency import BackgroundConsistency, SubjectConsistency, TemporalConsistency
from fastvmt.score.dynamic import DynamicDegree, video_dynamics
from fastvmt.score.functional import motion_fidelity
from fastvmt.score.metric import ScoreMetric
from fastvmt.score.motion_fidelity import MODES, MotionFidelity
from fastvmt.score.preprocess import check_frames
from fastvmt.score.registry import entries, weight_sources
from fastvmt.score.sample import LACKING, Sample, blank
from fastvmt.score.scores import Scores
from fastvmt.score.similarity import TextSimilarity
from fastvmt.score.smoothness import MotionSmoothness
from fastvmt.score.weights import MissingWeightsError
from fastvmt.types import Video
from helpers.stand_ins import (
    HEAD,
    LONG,
    METRICS,
    OTHER,
    PROMPT,
    VIDEOS,
    Colours,
    Drift,
    Rightwards,
    judged,
    scored,
)


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(4, 8, 8, 3),
        torch.zeros(4, 8, 8, 3, dtype=torch.int64),
        torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(4, 8, 8, 1, dtype=torch.uint8),
        torch.zeros(8, 8, 3, dtype=torch.uint8),
    ],
)
def test_frames_of_another_kind_never_become_a_video(frames: Tensor) -> None:
    with pytest.raises(ValueError, match=r"uint8 of shape \(T, H, W, 3\), got"):
        Video(frames, 8.0)
    with pytest.raises(ValueError, match=r"uint8 \(T, 3, H, W\)"):
        check_frames(frames.movedim(-1, -3))


def tensor(video: Video) -> Tensor:
    return video.frames_THWC.permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", METRICS)
def test_tensors_are_scored_as_videos(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastvmt.score.frechet.TRACKS", 30)  # quick
    expected = scored(METRICS[name](), [VIDEOS[0]], [0]).per_sample()[1].tolist()
    for given in ([tensor(VIDEOS[0])], tensor(VIDEOS[0]), tensor(VIDEOS[0])[None]):
        metric = METRICS[name]()
        metric.update(given, [0], references=[tensor(OTHER)], prompts=[PROMPT], fps=8.0)
        assert metric.per_sample()[1].tolist() == pytest.approx(expected, nan_ok=True)
    for wrong in (tensor(VIDEOS[0]).float(), VIDEOS[0].frames_THWC, tensor(VIDEOS[0])[:, :1], tensor(VIDEOS[0])[0]):
        metric = METRICS[name]()
        with pytest.raises(ValueError, match=r"frames are uint8 \(T, 3, H, W\), got"):
            metric.update([wrong], [0])
        assert len(metric.rows) == 0


@pytest.mark.parametrize("name", METRICS)
def test_videos_of_another_type_are_named(name: str) -> None:
    metric: Any = METRICS[name]()
    pixels = VIDEOS[0].frames_THWC.numpy()
    for wrong, kind in ((VIDEOS[0], "Video"), (pixels, "ndarray"), ([pixels], "ndarray"), ("a.mp4", "str")):
        with pytest.raises(TypeError, match=rf"a list of Video or of uint8 tensors.*\(B, T, 3, H, W\); got {kind}$"):
            metric.update(wrong, [0])
        assert len(metric.rows) == 0


def test_a_batch_of_tensors_is_several_videos() -> None:
    batch = torch.stack([tensor(VIDEOS[0]), tensor(VIDEOS[1])])
    metric = scored(METRICS["temporal_consistency"](), VIDEOS[:2], [0, 1])
    other = TemporalConsistency(Colours())
    other.update(batch, [0, 1])
    assert other.per_sample()[1].tolist() == metric.per_sample()[1].tolist()
    with pytest.raises(ValueError, match="one index per video"):
        other.update(batch, [0])


def test_a_score_that_needs_the_rate_asks_for_it() -> None:
    with pytest.raises(ValueError, match=r"update\(\.\.\., fps=<rate>\)"):
        DynamicDegree(Rightwards()).update([tensor(VIDEOS[0])], [0])


def test_the_package_offers_metrics_and_functions() -> None:
    assert {type(make()).__name__ for make in METRICS.values()} <= set(fastvmt.score.__all__)
    assert all(callable(getattr(fastvmt.score, name)) for name in fastvmt.score.__all__)
    assert fastvmt.score.robust is motion_fidelity


@pytest.mark.parametrize("name", METRICS)
def test_one_frame_has_no_score(name: str) -> None:
    metric = METRICS[name]()
    least = 3 if isinstance(metric, MotionSmoothness) else 2
    for frames in range(1, least):
        with pytest.raises(ValueError, match=f"at least {least}"):
            scored(metric, [Video(VIDEOS[0].frames_THWC[:frames], 8.0)], [0])
    assert len(metric.rows) == 0


BLACK = Video(torch.zeros_like(VIDEOS[0].frames_THWC), 8.0)


@pytest.mark.parametrize("name", METRICS)
def test_undefined_values_are_kept_told_of_and_left_out(name: str) -> None:
    metric = METRICS[name]()
    with pytest.warns(UserWarning, match=r"undefined for videos \[1\]: left out"):
        metric.update([VIDEOS[0], BLACK], [0, 1], references=[OTHER, OTHER], prompts=[PROMPT, PROMPT])
    first, second = metric.per_sample()[1].tolist()
    assert math.isnan(second)
    assert float(metric.compute()) == pytest.approx(first, nan_ok=True)
    metric.reset()
    with pytest.warns(UserWarning, match="left out"):
        metric.update([BLACK], [0], references=[OTHER], prompts=[PROMPT])
    assert metric.compute().isnan()
    with pytest.raises(ValueError, match=r"2 videos, 2 references, 1 prompts and 2 indices"):
        metric.update(VIDEOS[:2], [0, 1], references=[OTHER, OTHER], prompts=[PROMPT])


def test_a_degenerate_clip_has_no_score_and_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Black, of one colour but for an encoder's noise, changing colour; and a slope without a corner."""
    g = torch.Generator().manual_seed(0)
    flat = torch.full((9, 64, 64, 3), 90, dtype=torch.uint8)
    noisy = flat + torch.randint(0, 3, flat.shape, generator=g, dtype=torch.uint8)
    fading = (flat + 10 * torch.arange(9, dtype=torch.uint8)[:, None, None, None]).contiguous()
    scores = judged(monkeypatch, tmp_path, list(METRICS))
    for frames in (BLACK.frames_THWC, flat, noisy, fading):
        video = Video(frames, 8.0)
        found = scores.judge(Sample(video, OTHER, PROMPT))
        assert blank(video) and set(found.notes.values()) == {"the video is of one colour"}
        assert set(found.notes) == set(found.values) and len(found.surprises) == 1
        assert all(math.isnan(value) for value in scores.score(Sample(video, OTHER, PROMPT)).values())
        against = scores.score(Sample(VIDEOS[0], video, PROMPT))
        fidelities = [value for name, value in against.items() if name.startswith("motion_fidelity")]
        assert all(math.isnan(value) for value in fidelities) and math.isfinite(against["text_similarity"])
        assert against["low_texture"] == 1
    slope = torch.arange(64, dtype=torch.uint8)[None, None, :, None].expand(9, 64, 64, 3).contiguous()
    smooth = Sample(Video(slope, 8.0), Video(slope, 8.0), PROMPT)
    found = scores.judge(smooth)
    assert math.isnan(found.values["motion_fidelity"]) and found.values["temporal_flickering"] == 1
    assert found.notes["motion_fidelity"] == "the video and the reference without texture to follow"
    whole = scores.judge(Sample(VIDEOS[0], OTHER, PROMPT))
    assert whole.surprises == [] and set(whole.notes.values()) == {LACKING["truth"], LACKING["mask"]}
    untold = scores.judge(Sample(VIDEOS[0], None, " "))
    assert untold.notes["motion_fidelity"] == LACKING["reference"]
    assert untold.notes["text_similarity"] == LACKING["prompt"]


@pytest.mark.parametrize(
    "metric",
    [
        *(kind(Colours(math.nan)) for kind in (TextSimilarity, TemporalConsistency, SubjectConsistency)),
        BackgroundConsistency(Colours(math.nan)),
        AestheticQuality(Colours(math.nan), HEAD),
        *(MotionFidelity(Drift(unknown=True), mode) for mode in MODES),
    ],
    ids=lambda metric: f"{type(metric).__name__} {getattr(metric, 'mode', '')}",
)
def test_a_network_that_gives_nan_gives_no_score(metric: ScoreMetric) -> None:
    scored(metric, [VIDEOS[0]], [0])
    assert metric.per_sample()[1].isnan().all() and metric.compute().isnan()


def test_undefined_flow_is_no_rest() -> None:
    fields = Rightwards().forward_flow(VIDEOS[0].frames_THWC)
    fields[3][5, 5] = math.nan

    class Broken(Rightwards):
        def forward_flow(self, frames_THWC: Tensor) -> list[np.ndarray]:
            return fields

    assert math.isnan(video_dynamics(VIDEOS[0], Broken()).moves)


def test_tracks_that_are_not_numbers_are_lost_tracks() -> None:
    points = torch.arange(9.0)[None, :, None] * torch.tensor([[[1.0, 0.5]], [[0.0, 1.0]], [[1.0, 0.0]]])
    seen = torch.ones(3, 9, dtype=torch.bool)
    broken = points.clone()
    broken[1, 4] = math.nan
    lost = seen.clone()
    lost[1, 4] = False
    assert motion_fidelity(broken, points, seen, seen, 100) == motion_fidelity(points, points, lost, seen, 100)


@pytest.mark.parametrize("name", METRICS)
def test_prompts_matter_to_text_scores_alone(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scores = judged(monkeypatch, tmp_path, [name])
    video = VIDEOS[0]
    found = scores.score(Sample(video, OTHER, "  "))
    assert math.isnan(found[name]) == name.startswith("text")
    if not name.startswith("text"):
        return
    cut = "prompt_truncated" + name.removeprefix("text_similarity")
    assert found[cut] == 0 and scores.score(Sample(video, None, PROMPT))[cut] == 0
    with pytest.warns(UserWarning, match="reads only the start"):
        found = scores.score(Sample(video, None, LONG))
    assert found[cut] == 1 and found[name] == scores.score(Sample(video, None, PROMPT))[name]
    assert scored(METRICS[name](), [video, video], [0, 1], LONG).report()[cut] == 1


@pytest.mark.parametrize("name", weight_sources())
def test_missing_files_are_named_with_origin_and_licence(name: str, tmp_path: Path) -> None:
    source = weight_sources()[name]
    for path in (None, tmp_path / "gone"):
        with pytest.raises(MissingWeightsError) as missing:
            source.locate(path)
        for part in (source.file, source.origin, source.licence, source.size, f"{source.override}=<path>"):
            assert part in str(missing.value)


@pytest.mark.parametrize("name", METRICS)
def test_every_score_says_which_file_it_lacks(name: str) -> None:
    if not entries()[name].weights:
        assert list(Scores(Drift(), [name], {}).metrics) == [name]
        return
    with pytest.raises(MissingWeightsError, match=f"{name}: ") as missing:
        Scores(Drift(), [name], {})
    assert any(source.origin in str(missing.value) for source in entries()[name].weights)
    with pytest.warns(UserWarning, match="left out"):
        partly = Scores(Drift(), [name], {}, on_missing="skip")
    found = partly.score(Sample(VIDEOS[0], OTHER, PROMPT))
    assert set(found) == set(entries()[name].columns) and all(math.isnan(value) for value in found.values())


# dynamic degree


@pytest.mark.parametrize(
    ("fps", "step"),
    [(4, 1), (8, 1), (11.9, 1), (12, 2), (15, 2), (16, 2), (20, 2), (23.976, 3), (24, 3), (30, 4), (60, 8)],
)
def test_dynamic_degree_samples_about_eight_frames_a_second(fps: float, step: int) -> None:
    """Every max(1, round(fps / 8))-th frame, halves rounded to even, counted from the first."""
    given: list[int] = []

    class Recorder(Rightwards):
        def forward_flow(self, frames_THWC: Tensor) -> list[np.ndarray]:
            given.extend(frames_THWC[:, 0, 0, 1].tolist())
            return super().forward_flow(frames_THWC)

    frames = torch.zeros(60, 64, 64, 3, dtype=torch.uint8)
    frames[..., 1] = torch.arange(60, dtype=torch.uint8)[:, None, None]  # numbers them
    frames[:, 0, 0, 0] = 2  # pixels per sampled pair: above 6 * 64 / 256
    found = video_dynamics(Video(frames, fps), Recorder())
    assert given == list(range(0, 60, step))
    assert found.speed == 2 and found.moves == 1
