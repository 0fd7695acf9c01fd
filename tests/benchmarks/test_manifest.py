"""Manifests: their cases, filters, frames and masks, lost clips, and every way to be wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch

from fastvmt.benchmarks import ManifestBenchmark
from fastvmt.benchmarks.reference import ManifestError
from fastvmt.data.frame_folder import clip_sha256
from fastvmt.results.case_record import case_key
from fastvmt.types import Video
from helpers.clips import brightness, write_frames
from helpers.manifests import SHAPE, loaded


def test_cases_are_references_times_prompts_times_seeds(bench):
    cases = loaded(bench(), sample_seed=100)
    assert [case.id for case in cases] == [
        "swan/same/s100",
        "swan/same/s103",
        "swan/cat/s100",
        "swan/cat/s103",
        "dog/fox/s100",
        "dog/fox/s103",
    ]
    case = cases[3]
    assert (case.prompt, case.negative_prompt, case.seed, case.category) == ("a cat", "dog", 103, "camera")
    assert case.reference_prompt == "a swan" and case.reference.size == (9, 48, 48)
    assert brightness(case.reference) == list(range(9))
    assert cases[4].reference.fps == 24
    assert len(cases) == 6 and cases.lost == ()
    with pytest.raises(IndexError):
        cases[6]


@pytest.mark.parametrize(("folder", "shown"), [(True, range(9)), (False, [0])])
def test_masks_follow_their_clip(bench, tmp_path, folder, shown):
    """A 3-pixel square that moves with the frames, sampled and cropped like the clip."""
    masks = torch.zeros(20, 48, 64, 3, dtype=torch.uint8)
    for t in range(20):
        masks[t, 10:13, 20 + t : 23 + t, 0] = 128  # a palette's first colour
    write_frames(tmp_path / "masks", Video(masks, 8.0))
    mask = "masks" if folder else "masks/3.png"
    path = bench(swan={"mask": mask, "frames": {"start": 3, "stride": 2}})
    swan, dog = loaded(path)[0], loaded(path)[4]
    assert dog.foreground_THW is None
    assert swan.foreground_THW.dtype == torch.bool and swan.foreground_THW.shape == (9, 48, 48)
    for t in range(9):
        y, x = swan.foreground_THW[t].nonzero().T.tolist()
        left = 20 + 3 + 2 * t - 8  # the crop takes 8 of 64 columns on each side
        assert (y, x) == ([10] * 3 + [11] * 3 + [12] * 3, [left, left + 1, left + 2] * 3) if t in shown else ([], [])
    assert case_key(swan) != case_key(replace(swan, foreground_THW=None))
    write_frames(tmp_path / "fewer", Video(masks[:19], 8.0))
    (lost,) = loaded(bench(swan={"mask": "fewer"}), on_lost="skip").lost
    assert "mask 'fewer' has (frames, height, width) (19, 48, 64), its clip (20, 48, 64)" in lost.reason


def test_filters(bench):
    path = bench()
    assert {case.id.split("/")[0] for case in loaded(path, splits=["dev"])} == {"swan"}
    assert {case.id.split("/")[0] for case in loaded(path, categories=["articulated"])} == {"dog"}
    assert {case.id.split("/")[1] for case in loaded(path, kinds=["subject", "free"])} == {"cat", "fox"}
    with pytest.raises(ValueError, match="no case is left"):
        loaded(path, splits=["hidden"])
    with pytest.raises(ValueError, match=r"benchmark.splits=\['train'\]"):
        loaded(path, splits=["train"])


@pytest.mark.parametrize(
    ("frames", "target_fps", "expected"),
    [
        ({"start": 2}, None, list(range(2, 11))),
        ({"stride": 2}, None, list(range(0, 18, 2))),
        ({"start": 1}, 4.0, list(range(1, 19, 2))),
        ({"start": 3, "stride": 2}, 8.0, list(range(3, 20, 2))),
        ({}, 6.0, [0, 1, 3, 4, 5, 7, 8, 9, 11]),  # round(4 i / 3)
    ],
)
def test_frames_that_are_sampled(bench, frames, target_fps, expected):
    """``start + round(i stride fps / target_fps)``."""
    path = bench(swan={"frames": frames}, dog={"split": "hidden"})
    assert brightness(loaded(path, target_fps=target_fps, splits=["dev"])[0].reference) == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sha256": "0" * 64}, "the manifest says 000000000000"),
        ({"frames": {"start": 12}}, "needs frame 20: the clip is too short"),
        ({"frames": {"stride": 3}}, "needs frame 24"),
        ({"frames": {"num": 10}}, r"frames.num=10 must be 2 k \+ 1"),
        ({"frames": {"num": 11}}, "more than backbone.frames=9"),
        ({"frames": {"num": 7}}, "fewer than backbone.frames=9"),
        ({"frames": {"num": 7}, "frame_policy": "round_down"}, "fewer than backbone.frames=9"),
        ({"frames": {"start": 14}, "frame_policy": "round_down"}, "enough for 5"),
        ({"frames": {"start": 30}, "frame_policy": "pad_last"}, "start=30"),
        ({"video": "clips/none.mp4"}, "clips/none.mp4' does not exist"),
        ({"mask": "masks/swan"}, "mask 'masks/swan' does not exist"),
        ({"size": [480, 854]}, r"size=\[480, 854\]"),
        ({"fps": 24}, "plays at 8 fps"),
    ],
)
def test_clips_that_cannot_be_used_are_lost_with_a_reason(bench, change, reason):
    path = bench(swan=change)
    with pytest.raises(ValueError, match=reason) as refused:
        loaded(path)
    assert "1 of 2 references" in str(refused.value) and "on_lost=skip" in str(refused.value)
    cases = loaded(path, on_lost="skip")
    (lost,) = cases.lost
    assert (lost.reference, lost.cases) == ("swan", 4)
    assert {case.id.split("/")[0] for case in cases} == {"dog"}


def test_a_file_that_is_cut_short_is_lost(bench, tmp_path):
    path = bench()
    data = (tmp_path / "clips" / "swan.mp4").read_bytes()
    (tmp_path / "clips" / "swan.mp4").write_bytes(data[: len(data) // 3])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["sha256"] = clip_sha256(tmp_path / "clips" / "swan.mp4")  # even when the manifest was made from it
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert [lost.reference for lost in loaded(path, on_lost="skip").lost] == ["swan"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"frames": {"num": 13}, "frame_policy": "round_down"}, list(range(9))),
        ({"frames": {"num": 10}, "frame_policy": "round_down"}, list(range(9))),
        ({"frames": {"num": 6}, "frame_policy": "pad_last"}, [0, 1, 2, 3, 4, 5, 5, 5, 5]),
        ({"frames": {"start": 16}, "frame_policy": "pad_last"}, [16, 17, 18, 19, 19, 19, 19, 19, 19]),
    ],
)
def test_frame_policies(bench, change, expected):
    assert brightness(loaded(bench(swan=change))[0].reference) == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "dog"}, "id=dog is used twice"),
        ({"id": "a/b"}, "must be 1 to 80 letters"),
        ({"id": ""}, "id is missing"),
        ({"prompts": []}, "prompts is missing"),
        ({"prompts": [{"id": "a", "text": "  "}]}, "prompts.text"),
        ({"prompts": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}, "prompts.id"),
        ({"prompts": [{"id": "a", "text": "x", "kind": "odd"}]}, "caption | subject"),
        ({"prompts": [{"id": "a", "words": "x"}]}, "unknown key prompts.words"),
        ({"prompts": "a dog"}, r"prompts='a dog' must be a list of"),
        ({"prompts": [3]}, r"prompts=3 must be a list of"),
        ({"prompts": [{"id": "a", "text": 3}]}, "prompts.text=3 must be text"),
        ({"prompts": [{"id": "a"}]}, "prompts.text='' must be not empty"),
        ({"category": "very fast"}, "category='very fast' must be 1 to 80 letters"),
        ({"id": "x" * 81}, "must be 1 to 80 letters"),
        ({"tags": ["a"]}, "unknown key tags"),
        ({"colour": "red"}, "unknown key colour"),
        ({"frames": {"step": 2}}, "unknown key frames.step"),
        ({"frames": 81}, "frames=81 must be an object"),
        ({"frames": {"num": 9.5}}, "frames.num=9.5"),
        ({"frame_policy": "loop"}, "frame_policy='loop'"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"sha256": "abc"}, "64 hexadecimal"),
        ({"fps": "fast"}, "fps='fast' must be a number above 0"),
        ({"fps": float("inf")}, "fps=inf"),
        ({"seeds": [2**32]}, "seeds="),
        ({"seeds": 3}, "seeds=3 must be a list"),
        ({"size": [48, True]}, "size="),
        ({"mask": "/m"}, "mask='/m' must be a path relative"),
        ({"video": "/clips/swan.mp4"}, "relative to the manifest"),
    ],
)
def test_lines_that_are_wrong(bench, change, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        loaded(bench(swan=change), on_lost="skip")
    assert "bench.jsonl, line" in str(refused.value)


def test_files_that_are_wrong(bench, tmp_path):
    with pytest.raises(ValueError, match="benchmark.path"):
        ManifestBenchmark(SHAPE, 8.0, 0, path=None)
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        loaded(tmp_path / "none.jsonl")
    path = bench()
    path.write_text(path.read_text() + "\n{")
    with pytest.raises(ValueError, match="line 3 is not JSON"):
        loaded(path)
    path = bench(prompts=[{"id": "x", "text": "y"}])  # defaults may not know about a line's own keys
    assert len(loaded(path)) == 6
    path.with_suffix(".yaml").write_text("version: 2")
    with pytest.raises(ValueError, match="must have a name"):
        loaded(path)
    path.with_suffix(".yaml").unlink()
    with pytest.raises(FileNotFoundError, match="header"):
        loaded(path)


def test_cases_never_share_a_folder(bench):
    """``a-b/c`` and ``a/b-c`` would both be ``a-b-c``."""
    prompts = [{"id": "b-c", "text": "x"}], [{"id": "c", "text": "x"}]
    with pytest.raises(ValueError, match="share the folder a-b-c-s0"):
        loaded(bench(swan={"id": "a", "prompts": prompts[0]}, dog={"id": "a-b", "prompts": prompts[1]}))


def test_prompts_may_be_plain_strings_and_categories_ones_own(bench):
    path = bench(swan={"prompts": ["a cat", {"text": "a dog"}], "category": "zoom"}, dog={"category": "zoom-out"})
    cases = loaded(path)
    assert [case.id for case in cases][::2] == ["swan/p0/s0", "swan/p1/s0", "dog/fox/s0"]
    assert [case.prompt for case in cases][::2] == ["a cat", "a dog", "a fox"] and cases[0].category == "zoom"
    assert {case.id.split("/")[0] for case in loaded(path, categories=["zoom-out"])} == {"dog"}
    with pytest.raises(ValueError, match=r"benchmark.categories=\['camera'\] must be among zoom, zoom-out"):
        loaded(path, categories=["camera"])
    with pytest.raises(ValueError, match=r"benchmark.splits=test must be a list: benchmark.splits=\[test\]"):
        loaded(path, splits="test")


@pytest.mark.parametrize("change", ["replaced", "gone", "damaged"])
def test_a_clip_that_changes_after_the_check_is_not_used(bench, tmp_path, change):
    cases = loaded(bench())
    swan, dog = tmp_path / "clips" / "swan.mp4", tmp_path / "clips" / "dog"
    if change != "damaged":
        shutil.rmtree(dog)
    if change == "replaced":
        write_frames(dog, Video(torch.full((12, 48, 64, 3), 7, dtype=torch.uint8), 8.0))
    elif change == "damaged":
        (dog / "0.png").write_bytes(b"no picture")
    assert brightness(cases[0].reference) == list(range(9)) and swan.is_file()
    with pytest.raises(ManifestError, match=r"dog cannot be used: .*; restore its files") as refused:
        cases[4]
    assert "\n" not in str(refused.value)
