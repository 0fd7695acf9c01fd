"""The scores of a result: which are computed, from what, and what happens when something is missing."""

from __future__ import annotations

import json
import math
import platform
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.tiny_wan.pairs import smeared
from fastvmt.config import config_folder
from fastvmt.construct import construct
from fastvmt.errors import UserError
from fastvmt.files import write_json
from fastvmt.results.columns import score_summaries
from fastvmt.results.provenance import processor
from fastvmt.score.clip.encoder import ClipEncoder
from fastvmt.score.consistency import consistency, temporal_consistency
from fastvmt.score.motion_fidelity import score_motion
from fastvmt.score.sample import Sample
from fastvmt.score.scores import Scores
from fastvmt.score.similarity import text_similarity
from fastvmt.score.weights import MissingWeightsError
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import TransferCase, Truth, Video
from fastvmt.world.scene import Scene, render, sample_scene
from fastvmt.world.scores import SURE_OBJECT
from helpers.config import composed
from helpers.records import case_record
from helpers.stand_ins import Colours

EARLIER = {
    "motion_fidelity",
    "motion_fidelity_dynamic",
    "trajectory_cosine",
    "text_similarity",
    "temporal_consistency",
    "static_fraction",
    "static_fraction_reference",
    "speed",
    "speed_reference",
    "coverage",
}
"""Columns that records have had from the start."""


def preset(name: str, *overrides: str) -> Any:
    cfg = composed(f"metrics={name}", "device=cpu", *overrides)
    return construct(cfg.metrics, "metrics", tracker=construct(cfg.tracker, "tracker"))


def scene_of(category: str, seed: int) -> Scene:
    return sample_scene(np.random.default_rng(seed), 9, category)


def sample(scene: Scene) -> tuple[Video, Truth]:
    clip = render(scene, 96)
    arrays = clip.centres_KT2, clip.tracks_NT2, clip.visible_NT, clip.owner_N
    return Video(torch.from_numpy(clip.frames_THWC), 8.0), Truth(*(torch.from_numpy(a) for a in arrays))


@pytest.fixture(scope="module")
def scores() -> Scores:
    return preset("default")


def test_every_result_gets_every_column(scores: Scores) -> None:
    scene = scene_of("single_object", 3)
    video, truth = sample(scene)
    mask = torch.ones(video.size, dtype=torch.bool)
    case = TransferCase("a", video, scene.caption, category=scene.category, truth=truth, foreground_THW=mask)
    found = scores(case, video).values
    expected = {column for entry in scores.entries.values() for column in entry.columns}
    assert set(found) == expected and expected > EARLIER
    assert all(isinstance(value, float) and math.isfinite(value) for value in found.values())
    assert found["motion_fidelity"] > 0.99 and found["trajectory_cosine"] > 0.97  # scored against itself
    foreign = scores.score(Sample(video, None, scene.caption))
    assert math.isnan(foreign["motion_fidelity"]) and math.isnan(foreign["trajectory_cosine"])
    assert foreign["text_similarity"] == found["text_similarity"] and set(foreign) == set(found)


def test_columns_are_what_the_functions_say(scores: Scores) -> None:
    scene = scene_of("multi_object", 1)
    video, truth = sample(scene)
    other, _ = sample(scene_of("camera", 2))
    found = scores.score(Sample(video, other, scene.caption, truth, scene.category))
    encoder = ClipEncoder(Path(str(config_folder())).parent / "fastvmt" / "models" / "tiny-clip")
    rows = encoder.encode_images(video.frames_THWC.permute(0, 3, 1, 2))
    text = encoder.encode_text([scene.caption])[0]
    assert found["text_similarity"] == pytest.approx(float(text_similarity(rows, text)))
    assert found["temporal_consistency"] == pytest.approx(float(temporal_consistency(rows)))
    assert found["background_consistency"] == pytest.approx(float(consistency(rows)))
    motion = score_motion(video, other, DisTracker())
    assert (found["motion_fidelity"], found["speed"]) == (motion.fidelity, motion.speed_generated)


def test_text_temporal_and_background_share_one_pass(scores: Scores, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    plain = ClipEncoder.encode_images

    def counted(self: ClipEncoder, frames: torch.Tensor) -> torch.Tensor:
        passes.append(len(frames))
        return plain(self, frames)

    monkeypatch.setattr(ClipEncoder, "encode_images", counted)
    video, _ = sample(scene_of("camera", 9))
    scores.score(Sample(video, None, "a dog on grass"))
    scores.score(Sample(video, None, "a cat on sand"))  # another prompt, the same video
    assert passes == [9]


def test_long_and_empty_prompts(scores: Scores) -> None:
    video, _ = sample(scene_of("camera", 9))
    with pytest.warns(UserWarning, match="reads only the start"):
        assert scores.score(Sample(video, None, "a dog on grass " * 20))["prompt_truncated"] == 1
    found = scores.score(Sample(video, None, " "))
    assert math.isnan(found["text_similarity"]) and found["prompt_truncated"] == 0


def test_a_trajectory_that_was_not_really_measured_is_not_scored(scores: Scores) -> None:
    scene = scene_of("single_object", 3)
    clip, empty = render(scene, 96), render(replace(scene, objects=(), poses=()), 96)
    truth = sample(scene)[1]
    noise = np.random.default_rng(0).integers(0, 256, clip.frames_THWC.shape).astype(np.uint8)
    videos = {"clean": clip.frames_THWC, "empty": empty.frames_THWC, "noise": noise}
    videos["lost blob"] = smeared(clip, empty, 8.0)  # its measured path would give a cosine of -0.7
    for name, frames in videos.items():
        found = scores.metrics["trajectory"].score(_sample(Video(torch.from_numpy(frames), 8.0), truth, scene))
        if name == "clean":
            assert found["trajectory_confidence"] > SURE_OBJECT and found["trajectory_cosine"] > 0.97
        else:
            assert found["trajectory_confidence"] < SURE_OBJECT and math.isnan(found["trajectory_cosine"])


def _sample(video: Video, truth: Truth, scene: Scene) -> Sample:
    return Sample(video, None, scene.caption, truth, scene.category)


def test_presets() -> None:
    fast = preset("fast")
    assert list(fast.metrics) == ["motion_fidelity", "trajectory", "text_similarity", "temporal_consistency"]
    assert list(preset("none", "metrics.also=[temporal_flickering]").metrics) == ["temporal_flickering"]
    only = preset("default", "metrics.names=[dynamic_degree_flow,motion_smoothness_flow]")
    video, _ = sample(scene_of("camera", 0))
    assert preset("none").score(Sample(video, None, "")) == preset("none").provenance()["scores"] == {}
    found = only.score(Sample(video, None, ""))
    assert set(found) == {"dynamic_degree_flow", "dynamic_degree_flow_speed", "motion_smoothness_flow"}
    scaled = preset("default", "metrics.names=[text_similarity]", "metrics.clip.scale=100")
    plain = preset("default", "metrics.names=[text_similarity]")
    values = [each.score(Sample(video, None, "a dog on grass"))["text_similarity"] for each in (scaled, plain)]
    assert values[0] == pytest.approx(100 * values[1])


def test_what_vbench_lacks_is_said_at_once_before_anything_runs() -> None:
    with pytest.raises(UserError) as error:
        preset("vbench")
    for key in ("clip.model", "weights.clip_l14", "weights.dino", "weights.amt_checkout", "weights.raft"):
        assert f"metrics.{key}=<path>" in str(error.value)
    with pytest.warns(UserWarning, match="left out") as said:
        partly = preset("vbench", "metrics.on_missing=skip")
    assert len(said) == 1
    video, _ = sample(scene_of("camera", 0))
    found = partly.score(Sample(video, video, "a dog on grass"))
    lacking = {"text_similarity", "subject_consistency", "aesthetic_quality", "motion_smoothness", "dynamic_degree"}
    assert all(math.isnan(found[name]) for name in lacking)
    assert math.isfinite(found["temporal_flickering"]) and found["motion_fidelity"] > 0.99
    assert "DINO" in partly.provenance()["scores"]["subject_consistency"]["missing"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("metrics.names=[motion_fidelty]", "metrics.names has 'motion_fidelty': did you mean motion_fidelity"),
        ("metrics.also=[motion_fidelity_smm]", "metrics.also has 'motion_fidelity_smm'"),
        ("metrics.on_missing=ignore", "metrics.on_missing=ignore is out of range: it must be one of error, skip"),
        ("+metrics.clip.modle=x", "metrics.clip.modle is not a key"),
        ("+metrics.weights.sam=x", "metrics.weights.sam is not a key"),
        ("metrics.clip.model=nowhere", r"does not exist: 'nowhere'.*MIT.*metrics.clip.model=<path>"),
        ("metrics.clip.scale=0", "metrics.clip.scale=0"),
        ("metrics.frames=1", r"metrics.frames=1 is out of range: it must be null for all frames, or at least 2"),
    ],
)
def test_wrong_settings_are_refused(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        preset("default", override)


def test_vbench_compat_changes_vbenchs_scores_alone() -> None:
    names = "metrics.names=[text_similarity,temporal_consistency,background_consistency]"
    plain, compat = (preset("default", names, f"metrics.vbench_compat={on}") for on in ("false", "true"))
    said = {name: source["preprocess"] for name, source in compat.provenance()["scores"].items()}
    assert said == {"text_similarity": "pil", "temporal_consistency": "pil", "background_consistency": "vbench"}
    assert {source["preprocess"] for source in plain.provenance()["scores"].values()} == {"pil"}
    large = Video(torch.from_numpy(render(scene_of("camera", 9), 200).frames_THWC), 8.0)  # resized by the encoder
    before, after = (each.score(Sample(large, None, "a dog on grass")) for each in (plain, compat))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"background_consistency"}


def test_vbench_compat_pools_frames_in_tables() -> None:
    values = {"a": (3, 1.0), "b": (9, 0.5), "c": (5, math.nan)}
    records = [
        case_record(i, frames=frames, scores={"subject_consistency": value, "text_similarity": value})
        for i, (frames, value) in values.items()
    ]
    pooled = [replace(record, pooled=["subject_consistency"]) for record in records]
    assert score_summaries(records)["subject_consistency"].mean == 0.75
    found = score_summaries(pooled)
    assert found["subject_consistency"].mean == pytest.approx((2 * 1.0 + 8 * 0.5) / 10)
    assert found["text_similarity"].mean == 0.75 and found["subject_consistency"].n == 2
    gone = score_summaries(pooled[2:])
    assert math.isnan(gone["subject_consistency"].mean) and gone["subject_consistency"].n == 0


def test_frames_are_picked_before_every_score() -> None:
    names = "metrics.names=[motion_fidelity,trajectory,temporal_flickering]"
    scene = scene_of("multi_object", 1)
    video, truth = sample(scene)
    other, mask = sample(scene_of("camera", 2))[0], torch.ones(video.size, dtype=torch.bool)
    found = preset("default", names, "metrics.frames=5").score(
        Sample(video, Video(other.frames_THWC[:7], 8.0), scene.caption, foreground_THW=mask[:7])
    )
    picked = [Video(clip.frames_THWC[[0, 2, 3, 5, 6]], 8.0) for clip in (video, other)]
    expected = preset("default", names).score(Sample(*picked, scene.caption, foreground_THW=mask[:5]))
    assert found == pytest.approx(expected, nan_ok=True)
    same = preset("default", names, "metrics.frames=5").score(
        Sample(video, video, scene.caption, truth, scene.category)
    )
    assert same["motion_fidelity_true"] > 0.8 and same["trajectory_cosine"] > 0.9
    with pytest.raises(ValueError, match=r"metrics\.frames=10 is out of range: .* in \[2, 9\]"):
        preset("default", names, "metrics.frames=10").score(Sample(video, None, ""))


def test_scores_of_dino_share_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    class Counting(Colours):
        def encode_images(self, frames_TCHW: torch.Tensor) -> torch.Tensor:
            passes.append(len(frames_TCHW))
            return super().encode_images(frames_TCHW)

    monkeypatch.setattr("fastvmt.score.networks.load_dino", lambda *_: Counting())
    names = ["subject_consistency", "temporal_consistency_dino", "temporal_consistency_dino_self"]
    found = Scores(DisTracker(), names, {}).score(Sample(sample(scene_of("camera", 9))[0], None, ""))
    assert passes == [9] and set(found) == set(names)


def test_missing_weights_are_an_error_of_their_own_kind() -> None:
    with pytest.raises(MissingWeightsError, match="subject_consistency: DINO"):
        Scores(DisTracker(), ["subject_consistency"], {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Scores(DisTracker(), ["temporal_flickering"], {})  # loads nothing, needs nothing


def test_the_processor_has_a_name(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    assert processor(info) == (platform.processor() or platform.machine())
    info.write_text("processor\t: 0\nmodel name\t: AMD EPYC 9B14\ncache size\t: 1024 KB\nmodel name\t: other\n")
    assert processor(info) == "AMD EPYC 9B14"


def test_provenance_can_be_stored(scores: Scores, tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", scores.provenance())
    stored = json.loads((tmp_path / "a.json").read_text())
    assert stored["scored_from"] == "memory"
    assert len(stored["scores"]["text_similarity"]["weights_sha256"]) == 64
    assert stored["scores"]["motion_fidelity"]["mode"] == "robust"
    assert stored["scores"]["motion_fidelity"]["tracker"] == DisTracker().id
    assert set(stored["scores"]) == set(scores.metrics)
