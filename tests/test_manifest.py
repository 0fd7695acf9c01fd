"""Frame folders, manifests with every way to be wrong, their writer, and a run over one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from clips import brightness, clip, write_frames
from hydra import compose, initialize_config_dir

from experiments.write_manifest import main as write_manifest
from fastvmt.backbones.layout import Layout
from fastvmt.benchmarks import ManifestBenchmark, SingleClip
from fastvmt.benchmarks.manifest import read_manifest
from fastvmt.config import config_folder
from fastvmt.data.frame_folder import clip_sha256, frame_files, is_frame_folder, read_clip, read_frames
from fastvmt.data.video import write_video
from fastvmt.engine.plan import UserError, make_plan
from fastvmt.engine.record import case_key
from fastvmt.engine.run import run
from fastvmt.metrics.__main__ import main as score_files
from fastvmt.types import Video

LAYOUT = Layout("wan", 9, 48, 48, 3, 2, 4, 4, (1, 2, 2), 2)
"""Clips of 9 frames, 2 k + 1."""


# frame folders


def test_frame_folder_keeps_pixels_and_the_order_of_numbers(tmp_path):
    video = clip(12)
    video.frames_THWC[..., 0] = 7  # red and blue differ
    write_frames(tmp_path / "swan", video)
    (tmp_path / "swan" / "notes.txt").write_text("not a frame")
    back = read_frames(tmp_path / "swan", 24.0)
    assert torch.equal(back.frames_THWC, video.frames_THWC)  # 10 comes after 9, not after 1
    assert (back.name, back.fps) == ("swan", 24.0)
    assert torch.equal(read_clip(tmp_path / "swan", 24.0).frames_THWC, back.frames_THWC)
    assert is_frame_folder(tmp_path / "swan") and not is_frame_folder(tmp_path)


def test_frame_folders_that_cannot_be_read(tmp_path):
    write_frames(tmp_path / "a", clip(3))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_frames(tmp_path / "nowhere", 24.0)
    with pytest.raises(ValueError, match="frame rate"):
        read_clip(tmp_path / "a")
    with pytest.raises(ValueError, match="fps=0"):
        read_frames(tmp_path / "a", 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no .jpg"):
        read_frames(tmp_path / "empty", 24.0)
    before = clip_sha256(tmp_path / "a")
    (tmp_path / "a" / "1.png").write_bytes(b"no picture")
    assert clip_sha256(tmp_path / "a") != before
    with pytest.raises(ValueError, match=r"1\.png.*cannot be decoded"):
        read_frames(tmp_path / "a", 24.0)
    cv2.imwrite(str(tmp_path / "a" / "1.png"), np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(ValueError, match="one size"):
        read_frames(tmp_path / "a", 24.0)


def test_sha_of_a_folder_depends_on_the_order_of_frames(tmp_path):
    write_frames(tmp_path / "a", clip(3))
    before = clip_sha256(tmp_path / "a")
    names = frame_files(tmp_path / "a")
    names[0].rename(tmp_path / "a" / "t.png"), names[1].rename(names[0])
    (tmp_path / "a" / "t.png").rename(names[1])
    assert clip_sha256(tmp_path / "a") != before


# manifests


@pytest.fixture
def bench(tmp_path: Path):
    """A function that writes a manifest of two clips, changed by its arguments, and returns its path."""
    write_video(tmp_path / "clips" / "swan.mp4", clip(20))
    write_frames(tmp_path / "clips" / "dog", clip(12))

    def write(swan: dict | None = None, dog: dict | None = None, **defaults) -> Path:
        rows = [
            {
                "id": "swan", "video": "clips/swan.mp4", "sha256": clip_sha256(tmp_path / "clips" / "swan.mp4"),
                "fps": 8.0, "size": [48, 64], "category": "camera", "source_prompt": "a swan", "split": "dev",
                "prompts": [
                    {"id": "same", "kind": "caption", "text": "a bird"},
                    {"id": "cat", "kind": "subject", "text": "a cat", "negative": "dog"},
                ],
            },
            {
                "id": "dog", "video": "clips/dog", "sha256": clip_sha256(tmp_path / "clips" / "dog"), "fps": 24,
                "size": [48, 64], "category": "articulated", "prompts": [{"id": "fox", "text": "a fox"}],
            },
        ]  # fmt: skip
        for row, change in zip(rows, (swan or {}, dog or {}), strict=True):
            row.update(change)
        path = tmp_path / "bench.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        header = {"name": "bench", "version": 1, "license": "own", "defaults": {"seeds": [0, 3], **defaults}}
        path.with_suffix(".yaml").write_text(yaml.safe_dump(header))
        return path

    return write


def loaded(path: Path, **options) -> ManifestBenchmark:
    return ManifestBenchmark(LAYOUT, 8.0, options.pop("sample_seed", 0), path=str(path), **options)


def test_cases_are_references_times_prompts_times_seeds(bench):
    cases = loaded(bench(), sample_seed=100)
    assert [case.id for case in cases] == [
        "swan/same/s100", "swan/same/s103", "swan/cat/s100", "swan/cat/s103", "dog/fox/s100", "dog/fox/s103",
    ]  # fmt: skip
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
        ({"id": "a/b"}, "must be of letters"),
        ({"id": ""}, "id is missing"),
        ({"prompts": []}, "prompts is missing"),
        ({"prompts": [{"id": "a", "text": "  "}]}, "prompts.text"),
        ({"prompts": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}, "prompts.id"),
        ({"prompts": [{"id": "a", "text": "x", "kind": "odd"}]}, "caption | subject"),
        ({"prompts": [{"id": "a", "words": "x"}]}, "words"),
        ({"category": "fast"}, "category=fast"),
        ({"colour": "red"}, "unknown key colour"),
        ({"frames": {"step": 2}}, "unknown key frames.step"),
        ({"frames": 81}, "frames=81 must be an object"),
        ({"frames": {"num": 9.5}}, "frames.num=9.5"),
        ({"frame_policy": "loop"}, "frame_policy=loop"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"sha256": "abc"}, "64 hexadecimal"),
        ({"fps": "fast"}, "fast"),
        ({"video": "/clips/swan.mp4"}, "relative to the manifest"),
    ],
)
def test_lines_that_are_wrong(bench, change, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        loaded(bench(swan=change), on_lost="skip")
    assert "bench.jsonl, line" in str(refused.value)


def test_files_that_are_wrong(bench, tmp_path):
    with pytest.raises(ValueError, match="benchmark.path"):
        ManifestBenchmark(LAYOUT, 8.0, 0, path=None)
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


# the writer


def test_writer_of_davis_layout(tmp_path, capsys):
    root = tmp_path / "DAVIS"
    for name in ("swan", "dog"):
        write_frames(root / "JPEGImages" / "480p" / name, clip(10))
        write_frames(root / "Annotations" / "480p" / name, clip(10))
    keys = {"swan": {"category": "camera", "prompts": [{"id": "cat", "kind": "subject", "text": "a cat"}]}}
    (tmp_path / "prompts.yaml").write_text(yaml.safe_dump(keys))
    out = tmp_path / "bench" / "davis.jsonl"
    arguments = [str(root), str(tmp_path / "prompts.yaml"), str(out), "--license", "own", "--origin", "davis"]
    write_manifest([*arguments, "--frames", "9", "--seeds", "1", "2"])
    assert "not entered (1): dog" in capsys.readouterr().out
    header, (reference,) = read_manifest(out)
    assert header["license"] == "own"
    assert reference.mask is not None and (out.parent / reference.mask / "0.png").is_file()
    assert (reference.num, reference.fps, reference.size, reference.seeds) == (9, 24.0, (48, 64), (1, 2))
    cases = loaded(out)
    assert [case.id for case in cases] == ["swan/cat/s1", "swan/cat/s2"]
    assert brightness(cases[0].reference) == list(range(9))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "must map clip names"),
        ("bear: {prompts: [{id: a, text: b}]}", "not in the folder: bear"),
        ("swan: {category: camera}", "gives no prompts for swan"),
        ("swan: {prompts: [{id: a, text: b}]}", "category is missing"),
    ],
)
def test_writer_says_what_is_wrong(tmp_path, capsys, content, reason):
    write_video(tmp_path / "clips" / "swan.mp4", clip(3))
    (tmp_path / "prompts.yaml").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        write_manifest(
            [str(tmp_path / "clips"), str(tmp_path / "prompts.yaml"), str(tmp_path / "b.jsonl"), "--license", "x"]
        )
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "prompts.yaml"]  # nothing half-written


# a run


def test_run_over_a_manifest_and_resume_by_case(bench, random_wan, tmp_path, capsys, monkeypatch):
    def composed(*more: str):
        overrides = [
            f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "guidance.block=1",
            "sampler.steps=2", "method=none", "metrics=none", "logger=none", f"output_dir={tmp_path / 'out'}",
            "benchmark=manifest", f"benchmark.path={tmp_path / 'bench.jsonl'}", "cache_dir=null", *more,
        ]  # fmt: skip
        with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
            return compose("config", overrides=overrides)

    bench(swan={"sha256": "0" * 64}, seeds=[4])
    with pytest.raises(UserError, match="swan: sha256"):
        make_plan(composed())
    run(composed("benchmark.on_lost=skip"))
    printed = capsys.readouterr().out
    assert "1 references left out, 2 cases" in printed and "total, seconds" in printed
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [case["id"] for case in result["cases"]] == ["dog/fox/s4"]
    assert [lost["reference"] for lost in result["lost"]] == ["swan"]
    assert result["costs"]["total_seconds"]["n"] == 1 and result["costs"]["energy_joules"]["n"] == 0
    bench(seeds=[4])  # the other clip came back: only its cases run
    ran = []
    from fastvmt.engine.module import TransferModule

    original = TransferModule.run_transfer
    monkeypatch.setattr(TransferModule, "run_transfer", lambda self, case: ran.append(case.id) or original(self, case))
    run(composed("benchmark.on_lost=skip"))
    assert ran == ["swan/same/s4", "swan/cat/s4"]
    bench(dog={"prompts": [{"id": "fox", "text": "a wolf"}]}, seeds=[4])  # same id, another prompt
    run(composed("benchmark.on_lost=skip"))
    assert ran[2:] == ["dog/fox/s4"]


# clips that exist already


def score_folder(tmp_path: Path, manifest: Path, *options: str) -> dict:
    file = tmp_path / "scores.json"
    arguments = [str(tmp_path / "made"), "--manifest", str(manifest), "--clip", "tiny-clip", "--output", str(file)]
    assert score_files([*arguments, *options]) == 0
    return json.loads(file.read_text())


def test_clips_are_scored_against_the_references_of_a_manifest(bench, tmp_path, capsys):
    mask = torch.zeros(20, 48, 64, 3, dtype=torch.uint8)
    mask[:, 10:40, 15:50] = 255
    write_frames(tmp_path / "masks", Video(mask, 8.0))
    manifest = bench(swan={"mask": "masks", "frames": {"start": 5, "num": 9}}, seeds=[0])
    cases = {case.id: case for case in ManifestBenchmark(LAYOUT, 8.0, 0, path=str(manifest))}
    names = {"swan/same/s0": "swan-same-s0", "swan/cat/s0": "swan/cat/s0", "dog/fox/s0": "dog"}
    for case_id, name in names.items():  # a perfect transfer, played at another rate; one is enlarged
        video = Video(cases[case_id].reference.frames_THWC, 16.0)
        write_video(tmp_path / "made" / f"{name}.mp4", video, lossless=True, scale=2 if name == "dog" else 1)
    content = score_folder(tmp_path, manifest)
    assert content["unmatched"] == [] and {record["id"] for record in content["clips"]} == set(cases)
    for record in content["clips"]:
        case = cases[record["id"]]
        assert (record["prompt"], record["frames"], record["size"]) == (case.prompt, 9, [48, 48])
        assert record["scores"]["motion_fidelity"] > 0.999 and record["scores"]["text_similarity"] is not None
        assert (record["scores"]["motion_fidelity_foreground"] is not None) == record["id"].startswith("swan")
        assert [note for note in record["notes"] if "2 times" not in note] == []
    (tmp_path / "made" / "dog.mp4").unlink()
    short = Video(cases["swan/same/s0"].reference.frames_THWC[:7], 8.0)
    write_video(tmp_path / "made" / "swan-same-s0.mp4", short, lossless=True)
    content = score_folder(tmp_path, manifest)
    assert content["unmatched"] == ["dog/fox/s0"]
    assert content["clips"][0]["frames"] == 7 and "7 generated and 9 reference" in content["clips"][0]["notes"][0]
    assert content["clips"][0]["scores"]["motion_fidelity"] > 0.99
    content = score_folder(tmp_path, manifest, "--set", "benchmark.kinds=[subject]")
    assert [record["id"] for record in content["clips"]] == ["swan/cat/s0"]
    capsys.readouterr()
    for change, folder, options, reason in [
        ({"sha256": "0" * 64}, "made", [], "sha256"),
        ({}, "masks", [], "no clip"),
        ({}, "made", ["--prompt", "x"], "give it alone"),
    ]:
        assert score_files([str(tmp_path / folder), "--manifest", str(bench(swan=change)), *options]) == 2
        assert reason in capsys.readouterr().err


def test_a_folder_of_frames_is_a_clip_of_ones_own(tmp_path):
    write_frames(tmp_path / "swan", clip(20))
    own = SingleClip(LAYOUT, 8.0, 0, video=str(tmp_path / "swan"), prompt="a bird")[0]
    assert brightness(own.reference) == list(range(9)) and own.reference.fps == 8
    faster = SingleClip(LAYOUT, 8.0, 0, video=str(tmp_path / "swan"), prompt="a bird", sample_fps=24.0, start=2)[0]
    assert brightness(faster.reference) == list(range(2, 11)) and faster.reference.fps == 24
