"""``python -m fastvmt.score`` and how it makes clips comparable."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fastvmt.data.alignment import align, evenly, slowed, spread
from fastvmt.data.frame_folder import clip_sha256
from fastvmt.data.triples import clips_in, listed, matched
from fastvmt.data.video import write_video
from fastvmt.score.command import main
from fastvmt.types import Video
from fastvmt.world.scene import render, sample_scene
from helpers.clips import brightness, clip, write_frames

# alignment


@pytest.mark.parametrize(
    ("count", "frames", "expected"),
    [(9, 5, [0, 2, 4, 6, 8]), (10, 10, list(range(10))), (8, 3, [0, 4, 7]), (5, 1, [0])],
)
def test_spread_keeps_both_ends(count, frames, expected):
    assert spread(count, frames) == expected


@pytest.mark.parametrize(("policy", "expected"), [("truncate", list(range(7))), ("linspace", [0, 2, 4, 6, 8, 10, 12])])
def test_lengths(policy, expected):
    for swap in (False, True):
        pair = (clip(13), clip(7)) if swap else (clip(7), clip(13))
        a, b, (note,) = align(*pair, policy)
        assert brightness(a if swap else b) == expected
        assert a.size[0] == b.size[0] == 7 and policy in note
    with pytest.raises(ValueError, match="strict refuses"):
        align(clip(7), clip(13), "strict")


def test_rates_and_sizes():
    fast, slow = clip(17, fps=24.0), clip(9, fps=12.0)
    a, b, (note,) = align(fast, slow)
    assert brightness(a) == list(range(0, 17, 2)) and brightness(b) == list(range(9))
    assert "thinned out" in note and a.fps == b.fps == 12
    a, b, _ = align(fast, slow, match_rate=False)
    assert brightness(a) == brightness(b) == list(range(9))
    assert brightness(slowed(clip(9, fps=8.0), 6.0)) == [0, 1, 3, 4, 5, 7, 8]
    a, b, (note,) = align(clip(5, 48, 48), clip(5, 96, 128))
    assert a.size == b.size == (5, 48, 48) and "128x96 scaled and cropped to 48x48" in note
    same = align(clip(5, fps=23.976), clip(5, fps=24.0))
    assert same[2] == []


def test_frames_to_score():
    assert brightness(evenly(clip(9), 5)) == [0, 2, 4, 6, 8]
    for frames in (1, 10):
        with pytest.raises(ValueError, match=rf"metrics\.frames={frames} is out of range: .* in \[2, 9\]"):
            evenly(clip(9), frames)
    for pair in ((clip(1), clip(9)), (clip(9), clip(1))):
        with pytest.raises(ValueError, match="1 frame"):
            align(*pair)


# which clips belong together


def test_folders_are_matched_by_name(tmp_path):
    write_video(tmp_path / "a" / "swan.mp4", clip(3))
    write_video(tmp_path / "a" / "cow.mp4", clip(3))
    write_frames(tmp_path / "b" / "swan", clip(3))
    write_video(tmp_path / "b" / "dog.mp4", clip(3))
    (tmp_path / "b" / "notes.txt").write_text("not a clip")
    (triple,), alone = matched(tmp_path / "a", tmp_path / "b", {"swan": "a goose"}, "anything")
    assert (triple.generated.name, triple.reference.name, triple.prompt) == ("swan.mp4", "swan", "a goose")
    assert alone == ["cow", "dog"]
    with pytest.raises(ValueError, match="both be clips"):
        matched(tmp_path / "a", tmp_path / "b" / "swan", {}, "")
    write_frames(tmp_path / "a" / "swan", clip(3))
    with pytest.raises(ValueError, match="same name"):
        clips_in(tmp_path / "a")


def test_lists(tmp_path):
    write_video(tmp_path / "x.mp4", clip(3))
    rows = [{"generated": "x.mp4", "reference": "x.mp4", "prompt": "a, b", "id": "one"}]
    rows += [{"generated": "x.mp4", "reference": "x.mp4", "prompt": ""}]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with (tmp_path / "l.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["generated", "reference", "prompt", "id"])
        writer.writeheader()
        writer.writerows(rows)
    for name in ("l.csv", "l.jsonl"):
        first, second = listed(tmp_path / name)
        assert (first.id, first.prompt, second.id, second.prompt) == ("one", "a, b", "x", "")
        assert first.generated == tmp_path / "x.mp4"
    (tmp_path / "l.jsonl").write_text(json.dumps({"generated": "x.mp4", "prompt": "b"}))
    with pytest.raises(ValueError, match="line 1 lacks reference"):
        listed(tmp_path / "l.jsonl")


# the command


def output_of(tmp_path: Path, *arguments: str) -> dict:
    """The written file; the clips are no emoji, but any CLIP tests the plumbing."""
    output = ["--clip", "tiny-clip", "--output", str(tmp_path / "out" / "scores.json")]
    assert main([*map(str, arguments), *output]) == 0
    return json.loads((tmp_path / "out" / "scores.json").read_text())


def test_a_clip_against_itself_and_against_its_reverse(tmp_path, capsys):
    video = clip(9, 96, 96)
    write_video(tmp_path / "a.mp4", video)
    write_video(tmp_path / "back.mp4", Video(video.frames_THWC.flip(0), video.fps))
    content = output_of(tmp_path, tmp_path / "a.mp4", tmp_path / "a.mp4", "--prompt", "a dog on grass")
    (record,) = content["clips"]
    assert record["scores"]["motion_fidelity"] > 0.95
    assert -1 <= record["scores"]["text_similarity"] <= 1
    assert content["scores"]["motion_fidelity"]["n"] == 1 and content["scores"]["motion_fidelity"]["std"] is None
    assert record["scores"].get("trajectory_cosine") is None  # the true motion is not known
    assert content["config"]["tracker"]["_target_"].endswith("DisTracker") and content["versions"]["torch"]
    assert (record["frames"], record["size"], record["notes"]) == (9, [96, 96], [])
    printed = capsys.readouterr().out
    assert "n/a" in printed and "T = 9 frames" in printed
    assert record["sha256"] == {
        "generated": clip_sha256(tmp_path / "a.mp4"),
        "reference": clip_sha256(tmp_path / "a.mp4"),
    }
    also = "metrics.also=[motion_fidelity_compat_smm,motion_fidelity_hybrid]"
    content = output_of(tmp_path, tmp_path / "back.mp4", tmp_path / "a.mp4", "--set", also, "--metrics", "none")
    assert set(content["clips"][0]["scores"]) == {"motion_fidelity_compat_smm", "motion_fidelity_hybrid"}
    assert set(content["metrics"]["scores"]) == set(content["clips"][0]["scores"])
    assert content["scores"]["motion_fidelity_hybrid"]["mean"] < 0.8
    content = output_of(tmp_path, tmp_path / "back.mp4", tmp_path / "a.mp4")
    assert content["clips"][0]["scores"]["motion_fidelity"] < 0.35
    assert content["clips"][0]["scores"]["text_similarity"] is None and "text_similarity" not in content["scores"]
    assert "no prompt" in content["clips"][0]["notes"][0]


def test_folders_frames_and_sizes(tmp_path, capsys):
    write_video(tmp_path / "gen" / "swan.mp4", clip(9, 48, 48))
    write_video(tmp_path / "gen" / "cow.mp4", clip(9, 48, 48))
    write_frames(tmp_path / "ref" / "swan", clip(13, 96, 128))
    (tmp_path / "prompts.csv").write_text("name,prompt\nswan,a dog on grass\n")
    content = output_of(
        tmp_path,
        tmp_path / "gen",
        tmp_path / "ref",
        "--prompts",
        tmp_path / "prompts.csv",
        "--frames",
        "5",
        "--folder-fps",
        "8",
        "--align",
        "truncate",
    )
    (record,) = content["clips"]
    assert (record["id"], record["prompt"], record["frames"]) == ("swan", "a dog on grass", 5)
    assert len(record["notes"]) == 2 and content["unmatched"] == ["cow"]
    assert "without a partner" in capsys.readouterr().out


def test_errors_are_one_line(tmp_path, capsys):
    write_video(tmp_path / "a.mp4", clip(9, 48, 48))
    write_video(tmp_path / "one.mp4", clip(1, 48, 48))
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "l.jsonl").write_text('{"generated": "a.mp4", "reference": "gone.mp4", "prompt": "x"}')
    a = str(tmp_path / "a.mp4")
    for arguments, reason in [
        ([a, "nothing.mp4"], "'nothing.mp4' does not exist"),
        ([a], "no reference"),
        ([a, str(tmp_path / "one.mp4")], "1 frame"),
        ([a, str(tmp_path / "text.mp4")], "cannot be decoded"),
        ([str(tmp_path / "l.jsonl")], "gone.mp4"),
        ([str(tmp_path / "l.jsonl"), a], "give it alone"),
        (
            [a, a, "--frames", "10"],
            "metrics.frames=10 is out of range: it must be null for all frames, or in [2, 9], as many as a has",
        ),
        ([a, a, "--frames", "1", "--on-error", "skip"], "metrics.frames=1 is out of range"),
        ([a, a, "--tracker", "eyes"], "eyes"),
        ([a, a, "--clip", "no/such/folder"], "no/such/folder"),
        ([a, a, "--prompts", "none.csv"], "none.csv"),
        ([a, a, "--set", "tracker.wings=2"], "wings"),
    ]:
        assert main(arguments) == 2, arguments
        shown = " ".join(capsys.readouterr().err.split())
        assert reason in shown and "Traceback" not in shown, (arguments, shown)
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0 and "folder of pictures" in shown and "metrics.also" in shown


def test_a_clip_that_fails_may_be_skipped(tmp_path):
    write_video(tmp_path / "a.mp4", clip(9, 48, 48))
    write_video(tmp_path / "one.mp4", clip(1, 48, 48))
    rows = [{"id": name, "generated": f"{name}.mp4", "reference": "a.mp4", "prompt": "a dog"} for name in ("one", "a")]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main([str(tmp_path / "l.jsonl")]) == 2
    content = output_of(tmp_path, tmp_path / "l.jsonl", "--on-error", "skip")
    assert "1 frame" in content["clips"][0]["error"] and content["clips"][0]["scores"] == {}
    summary = content["scores"]["motion_fidelity"]
    assert (summary["n"], summary["missing"]) == (1, 1)


def test_a_frozen_clip_is_steady(tmp_path):
    still = Video(clip(1, 48, 48).frames_THWC.expand(5, -1, -1, -1).contiguous(), 8.0)
    write_frames(tmp_path / "a", still)
    content = output_of(tmp_path, tmp_path / "a", tmp_path / "a", "--folder-fps", "8")
    scores = content["clips"][0]["scores"]
    assert scores["temporal_consistency"] == pytest.approx(1, abs=1e-6)
    assert scores["static_fraction"] == pytest.approx(1)
    assert scores["motion_fidelity_dynamic"] is None  # not 0: a static reference has no motion to follow
    assert torch.equal(still.frames_THWC[0], still.frames_THWC[4])


def test_without_output_one_file_is_written(tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "a.mp4", clip(5, 48, 48))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert main(["../a.mp4", "../a.mp4", "--metrics", "fast"]) == 0
    (written,) = [path for path in Path().rglob("*") if path.is_file()]  # no cache beside it
    assert written.parent == Path("outputs", "scores")
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {written}"
    assert "motion_fidelity" in json.loads(written.read_text())["scores"]


CLIP_COLUMNS = ("text_similarity", "temporal_consistency", "background_consistency")


def test_the_emoji_judge_is_for_clips_of_the_emoji_model(tmp_path, capsys):
    video = clip(5, 48, 48)
    write_video(tmp_path / "own.mp4", video, {"backbone": "tiny-wan"})
    write_video(tmp_path / "foreign.mp4", video, {"backbone": "wan-1.3b"})
    write_frames(tmp_path / "folder", video)
    for name, options, judged in [
        ("own.mp4", [], True),
        ("foreign.mp4", [], False),
        ("folder", [], False),
        ("foreign.mp4", ["--clip", "tiny-clip"], True),
        ("foreign.mp4", ["--set", "backbone.name=wan-1.3b"], True),
    ]:
        file = tmp_path / "scores.json"
        arguments = [str(tmp_path / name), str(tmp_path / "own.mp4"), "--prompt", "a dog", "--output", str(file)]
        assert main([*arguments, "--folder-fps", "8", *options]) == 0
        (record,) = json.loads(file.read_text())["clips"]
        assert [record["scores"][column] is not None for column in CLIP_COLUMNS] == [judged] * 3, (name, options)
        assert any("pass --clip" in note for note in record["notes"]) is not judged
        assert record["scores"]["motion_fidelity"] > 0.9
        words = capsys.readouterr().out.replace("│", " ").split()  # a narrow column breaks the line
        assert ("pass --clip" in " ".join(words)) is not judged


def scene_pair():
    """A scene of the emoji world, and the same motion of another object with some noise on it."""
    scene = sample_scene(np.random.default_rng(3), 9, "single_object")
    other = replace(scene, objects=("car" if scene.objects[0] != "car" else "dog",))
    reference, made = (torch.from_numpy(render(each, 96).frames_THWC) for each in (scene, other))
    noise = torch.randint(-6, 7, made.shape, generator=torch.Generator().manual_seed(0))
    return Video((made + noise).clamp(0, 255).to(torch.uint8), 8.0), Video(reference, 8.0)


def test_enlarged_files_are_scored_in_the_pixels_that_were_generated(tmp_path):
    found = {}
    for name, how in {
        "exact": {"lossless": True},
        "large": {"scale": 4, "lossless": True},
        "lossy": {"scale": 4},
    }.items():
        for role, video in zip(("made", "given"), scene_pair(), strict=True):
            write_video(tmp_path / name / f"{role}.mp4", video, **how)
        content = output_of(tmp_path, tmp_path / name / "made.mp4", tmp_path / name / "given.mp4", "--prompt", "a car")
        found[name] = content["clips"][0]
        assert found[name]["size"] == [96, 96]
        lines = [f"{role} enlarged 4 times by fastvmt: shrunk back" for role in ("generated", "reference")]
        assert found[name]["notes"] == ([] if name == "exact" else lines)
    assert found["large"]["scores"] == found["exact"]["scores"]
    for column in ("motion_fidelity", "motion_fidelity_dynamic"):
        assert found["lossy"]["scores"][column] == pytest.approx(found["exact"]["scores"][column], abs=0.05)


def test_clips_that_another_system_enlarged_are_brought_back(tmp_path):
    for role, video in zip(("made", "given"), scene_pair(), strict=True):
        write_frames(tmp_path / role, video)
        large = video.frames_THWC.repeat_interleave(3, 1).repeat_interleave(3, 2)
        write_frames(tmp_path / f"{role} x3", Video(large, 8.0))
    plain, large = (
        output_of(tmp_path, tmp_path / f"made{x}", tmp_path / f"given{x}", "--size", "96x96", "--metrics", "fast")
        for x in ("", " x3")
    )
    assert plain["clips"][0]["scores"] == large["clips"][0]["scores"]
    assert plain["clips"][0]["notes"][0].startswith("no prompt") and "3 times" in large["clips"][0]["notes"][0]
