"""Every score is one number, however it is asked for, and over several processes too."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, multiprocessing

from fastvmt.results.columns import summaries
from fastvmt.score.aesthetic import aesthetic_quality
from fastvmt.score.consistency import consistency, det_consistency, temporal_consistency
from fastvmt.score.dense_flow import DisFlow
from fastvmt.score.dynamic import dynamic_degree, fastest
from fastvmt.score.flicker import temporal_flickering
from fastvmt.score.frechet import hybrid
from fastvmt.score.functional import MotionScores, motion_fidelity
from fastvmt.score.metric import ScoreMetric
from fastvmt.score.motion_fidelity import JITTER, MODES, MotionFidelity, score_motion
from fastvmt.score.published import compat_det, compat_ditflow, compat_smm, paper
from fastvmt.score.registry import entries
from fastvmt.score.sample import Sample
from fastvmt.score.similarity import text_similarity
from fastvmt.score.smoothness import DisInterpolator, motion_smoothness
from fastvmt.score.tracklets import grid_tracks, tracklets
from fastvmt.trackers.dis import one_thread
from fastvmt.types import Truth, Video
from helpers.records import case_record
from helpers.stand_ins import (
    HEAD,
    LONG,
    METRICS,
    OTHER,
    PROMPT,
    VIDEOS,
    Before,
    Colours,
    Drift,
    Rightwards,
    judged,
    scored,
)


def rows(video: Video) -> Tensor:
    return Colours().encode_images(video.frames_THWC.permute(0, 3, 1, 2))


def motion(video: Video) -> MotionScores:
    a, b = (tracklets(clip, Drift()) for clip in (video, OTHER))
    return motion_fidelity(a.points_NT2, b.points_NT2, a.visible_NT, b.visible_NT, 64 * math.sqrt(2), JITTER)


def published(formula: Callable[..., float], side: int, *size: int) -> Callable[[Video], float]:
    def value(video: Video) -> float:
        a, b = (grid_tracks(clip, Drift(), side).points_NT2 for clip in (video, OTHER))
        return formula(a, b, *size)

    return value


def mixed(video: Video) -> float:
    a, b = (tracklets(clip, Drift()) for clip in (video, OTHER))
    return hybrid(a.points_NT2, b.points_NT2, a.visible_NT, b.visible_NT, 64 * math.sqrt(2), JITTER)


def apart(video: Video) -> float:
    """Points of two clips start together and go straight, a step of 1 pixel each, at an angle between them."""
    shared = OTHER.frames_THWC[: video.size[0]]
    angle = (video.frames_THWC.float().mean() - shared.float().mean()) / 20
    return float(video.size[0] * (angle / 2).sin().abs())


def dynamic(video: Video, flow: Any) -> float:
    return dynamic_degree([fastest(field) for field in flow.forward_flow(video.frames_THWC)], 64).moves


FUNCTIONS: dict[str, Callable[[Video], float | Tensor]] = {
    "motion_fidelity": lambda video: motion(video).fidelity,
    "motion_fidelity_precision": lambda video: motion(video).precision,
    "motion_fidelity_recall": lambda video: motion(video).recall,
    "motion_fidelity_hybrid": mixed,
    "motion_fidelity_paper": published(paper, 55),
    "motion_fidelity_compat_smm": published(compat_smm, 55),
    "motion_fidelity_compat_ditflow": published(compat_ditflow, 55),
    "motion_fidelity_compat_det": published(compat_det, 50, 64, 64),
    "epe": apart,
    "ctd": apart,
    "text_similarity": lambda video: text_similarity(rows(video), torch.eye(3)[0]),
    "text_similarity_l14": lambda video: text_similarity(rows(video), torch.eye(3)[0]),
    "temporal_consistency": lambda video: temporal_consistency(rows(video)),
    "background_consistency": lambda video: consistency(rows(video)),
    "subject_consistency": lambda video: consistency(rows(video)),
    "temporal_consistency_dino": lambda video: det_consistency(rows(video)),
    "temporal_consistency_dino_self": lambda video: det_consistency(rows(video), include_self=True),
    "aesthetic_quality": lambda video: aesthetic_quality(rows(video), *HEAD),
    "motion_smoothness": lambda video: motion_smoothness(video.frames_THWC.permute(0, 3, 1, 2), Before()),
    "motion_smoothness_flow": lambda video: motion_smoothness(video.frames_THWC.permute(0, 3, 1, 2), DisInterpolator()),
    "dynamic_degree": lambda video: dynamic(video, Rightwards()),
    "dynamic_degree_flow": lambda video: dynamic(video, DisFlow()),
    "temporal_flickering": lambda video: temporal_flickering(video.frames_THWC.permute(0, 3, 1, 2)),
}


def test_scores_metrics_and_functions_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The columns of a run are the metrics' values, which are the functions'."""
    assert set(METRICS) == set(FUNCTIONS) == set(entries()) - {"trajectory"}
    monkeypatch.setattr("fastvmt.score.frechet.TRACKS", 30)  # quick
    scores = judged(
        monkeypatch, tmp_path, ["motion_fidelity"], also=[name for name in METRICS if name != "motion_fidelity"]
    )
    videos = VIDEOS[:2]
    columns = [scores.score(Sample(video, OTHER, PROMPT)) for video in videos]
    assert set(columns[0]) == {column for name in METRICS for column in entries()[name].columns}
    assert set(scores.provenance()["scores"]) == set(METRICS)
    for name, make in METRICS.items():
        metric = scored(make(), videos, [0, 1])
        expected = [float(FUNCTIONS[name](video)) for video in videos]
        assert metric.per_sample()[1].tolist() == pytest.approx(expected, abs=1e-6, nan_ok=True), name
        assert [column[name] for column in columns] == pytest.approx(expected, abs=1e-6, nan_ok=True), name
        assert float(metric.compute()) == pytest.approx(np.nanmean(expected), abs=1e-6), name


def test_a_metrics_report_is_a_runs_means_of_one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same rows, where nothing is pooled; what no video has is NaN in one and not there in the other."""
    monkeypatch.setattr("fastvmt.score.frechet.TRACKS", 30)  # quick
    for name, make in METRICS.items():
        metric = scored(make(), [*VIDEOS[:3], BLACK], [0, 1, 2, 3], LONG)
        rows = [dict(zip(metric.columns, row, strict=True)) for row in torch.cat(metric.rows).tolist()]
        run = summaries([case_record(f"r{i}/p/s0", scores=row) for i, row in enumerate(rows)])["scores"]
        found = {column: value for column, value in metric.report().items() if not math.isnan(value)}
        assert {column: row["mean"] for column, row in run.items()} == pytest.approx(found, rel=1e-12), name
        assert float(metric.compute()) == pytest.approx(found[name], rel=1e-12), name


def test_forms_of_motion_fidelity_say_what_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scores = judged(
        monkeypatch,
        tmp_path,
        [],
        also=["motion_fidelity_compat_det", "motion_fidelity_hybrid", "motion_fidelity_hybrid"],
    )
    said = scores.provenance()["scores"]
    assert list(said) == ["motion_fidelity_compat_det", "motion_fidelity_hybrid"]
    assert said["motion_fidelity_compat_det"] == entries()["motion_fidelity_compat_det"].described() | {
        "mode": "compat_det",
        "tracker": Drift().id,
        "points": "50 x 50 of frame 0",
    }
    assert "textured" in said["motion_fidelity_hybrid"]["points"]
    assert said["motion_fidelity_hybrid"]["static_step"] == "below 0.0003 diagonals or 0.17 pixels"
    foreign = scores.score(Sample(VIDEOS[0], None, PROMPT))
    assert set(foreign) == set(said) and all(math.isnan(value) for value in foreign.values())
    with pytest.raises(ValueError, match=r"metrics\.also has 'motion_fidelity_smm'.*motion_fidelity_compat_smm"):
        judged(monkeypatch, tmp_path, [], also=["motion_fidelity_smm"])


def test_true_tracks_take_the_place_of_the_references(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scores, tracked = judged(monkeypatch, tmp_path, ["motion_fidelity"]), tracklets(OTHER, Drift())
    size = len(tracked.points_NT2)
    truth = Truth(torch.zeros(1, 9, 2), tracked.points_NT2, tracked.visible_NT, torch.zeros(size, dtype=torch.long))
    found = scores.score(Sample(VIDEOS[0], OTHER, PROMPT, truth=truth, category="single_object"))
    assert found["motion_fidelity_true"] == found["motion_fidelity"]
    assert found["motion_fidelity_dynamic_true"] == found["motion_fidelity_dynamic"]
    still = replace(truth, tracks_NT2=truth.tracks_NT2[:, :1].expand(-1, 9, -1))
    assert scores.score(Sample(VIDEOS[0], OTHER, PROMPT, truth=still))["motion_fidelity_true"] < 0.5
    assert math.isnan(scores.score(Sample(VIDEOS[0], OTHER, PROMPT))["motion_fidelity_true"])


def test_foreground_restricts_the_reference_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mask = torch.zeros(9, 64, 64, dtype=torch.bool)
    mask[:, 10:30, 10:30] = True
    sample = Sample(VIDEOS[0], OTHER, PROMPT, foreground_THW=mask)
    scores = judged(monkeypatch, tmp_path, ["motion_fidelity"])
    found = scores.score(sample)
    expected = score_motion(VIDEOS[0], OTHER, Drift(), foreground_THW=mask)
    assert found["motion_fidelity_foreground"] == expected.fidelity
    assert found["motion_fidelity"] == score_motion(VIDEOS[0], OTHER, Drift()).fidelity
    everywhere = Sample(VIDEOS[0], OTHER, PROMPT, foreground_THW=torch.ones_like(mask))
    assert scores.score(everywhere)["motion_fidelity_foreground"] == found["motion_fidelity"]
    nowhere = Sample(VIDEOS[0], OTHER, PROMPT, foreground_THW=torch.zeros_like(mask))
    assert math.isnan(scores.score(nowhere)["motion_fidelity_foreground"])


def test_every_video_metric_is_among_them() -> None:
    def leaves(kind: type) -> set[type]:
        return {kind}.union(*(leaves(child) for child in kind.__subclasses__()))

    ours = {kind for kind in leaves(ScoreMetric) if kind.__module__.startswith("fastvmt.score.")}
    concrete = {kind for kind in ours if not getattr(kind, "__abstractmethods__", None)}
    assert concrete == {type(make()) for make in METRICS.values()}


# several processes

SHARDS: dict[int, list[int]] = {0: [0, 2, 3], 1: [1, 0]}
"""Uneven, and case 0 twice, as a distributed sampler repeats it."""
BLACK = Video(torch.zeros(9, 64, 64, 3, dtype=torch.uint8), 8.0)
APART = {"motion_fidelity", "motion_fidelity_hybrid", "motion_fidelity_paper"}
"""Of the modes of one class, those that take different ways."""


def shard(cases: list[int]) -> dict[str, Any]:
    """Means, values and report of every metric after an update with some of ``VIDEOS``; video 3 has no score."""
    found: dict[str, Any] = {}
    for name, make in METRICS.items():
        metric = make()
        if isinstance(metric, MotionFidelity) and name not in APART:
            continue
        scored(metric, [VIDEOS[i] for i in cases if i != 3], [i for i in cases if i != 3], LONG)
        if 3 in cases:
            with pytest.warns(UserWarning, match=r"undefined for videos \[3\]"):
                metric.update([BLACK], [3], references=[OTHER], prompts=[PROMPT])
        index, value = metric.per_sample()
        found[name] = {"mean": float(metric.compute()), "index": index.tolist(), "value": value.tolist()}
        found[name] |= metric.report()
    return found


def worker(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    Path(folder, f"{rank}.json").write_text(json.dumps(shard(SHARDS[rank])))
    idle = MotionFidelity(Drift())
    if rank == 0:  # the other process has no case
        scored(idle, VIDEOS[:2], [0, 1])
    assert idle.per_sample()[0].tolist() == [0, 1] and idle.compute().isfinite() and idle.report()["coverage"] == 1
    torch.distributed.destroy_process_group()


def test_two_processes_with_uneven_shards_agree_with_one(tmp_path: Path) -> None:
    with one_thread():  # a fork of OpenCV's several threads would wait for those that it has not
        multiprocessing.start_processes(worker, args=(str(tmp_path),), nprocs=2, start_method="fork")  # no imports anew
    alone = shard(list(range(len(VIDEOS))))
    assert set(METRICS) - set(alone) == {f"motion_fidelity_{mode}" for mode in MODES[1:]} - APART
    for rank in range(2):
        together = json.loads((tmp_path / f"{rank}.json").read_text())
        for name, expected in alone.items():
            for key, value in together[name].items():
                assert value == pytest.approx(expected[key], nan_ok=True), (name, key)
            assert expected["index"] == [0, 1, 2, 3] and math.isnan(expected["value"][3])
