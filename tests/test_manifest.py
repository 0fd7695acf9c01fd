"""The writer of manifests: DAVIS' layout, and drafts that are refused."""

from __future__ import annotations

import pytest
import yaml

from fastvmt.benchmarks.manifest import read_manifest
from fastvmt.benchmarks.manifest_command import main as write_manifest
from fastvmt.benchmarks.manifest_command import read_prompts
from fastvmt.data.video import write_video
from helpers.clips import brightness, clip, write_frames
from helpers.manifests import loaded


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
        ("swan: {prompts: [{id: a, text: b}], category: a b}", "category='a b' must be"),
        ("swan: 3", "gives no prompts for swan: add  swan: {prompts: [a toy car"),
        ("swan: a cat\nswan: a dog", "names the clip swan twice"),
        ("swan: a cat\nswan.mp4: a dog", "names the clip swan twice"),
        ("swan: [a cat", "is not YAML"),
        ("? [swan]\n: a cat", "must map clip names"),
        ("swan: 2024-13-45", "month must be"),
        ("a cat", "must map clip names to their prompts, as in"),
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


@pytest.mark.parametrize(
    ("names", "content"),
    [
        (["1.1", "1.10"], "1.10: a dog"),
        (["8", "010"], "010: a dog"),
        (["0", "00000"], "00000: a dog"),
        (["true", "yes"], "yes: a dog"),
        (["1:30", "90"], "1:30: a dog"),
        (["2024-01-01", "x"], "2024-01-01: a dog"),
        (["1_0", "10"], "1_0.mp4: a dog"),
    ],
)
def test_names_that_look_like_numbers_are_names(tmp_path, names, content):
    """A prompt belongs to the clip whose name is written, whatever value YAML would read it as."""
    (tmp_path / "prompts.yaml").write_text(content)
    clips = {name: tmp_path / f"{name}.mp4" for name in names}
    assert read_prompts(tmp_path / "prompts.yaml", clips) == {
        content.split(": ")[0].removesuffix(".mp4"): {"prompts": ["a dog"]}
    }


def test_names_that_are_one_number_are_several_clips_and_merges_are_kept(tmp_path):
    (tmp_path / "prompts.yaml").write_text("010: a dog\n8: &a {category: zoom, prompts: [a cat]}\n9: {<<: *a}\n")
    found = read_prompts(tmp_path / "prompts.yaml", {name: tmp_path / name for name in ("010", "8", "9")})
    zoom = {"category": "zoom", "prompts": ["a cat"]}
    assert found == {"010": {"prompts": ["a dog"]}, "8": zoom, "9": zoom}


@pytest.mark.parametrize(
    "content",
    [
        "swan: a cat",
        "swan: [a cat]",
        "swan: {category: zoom, prompts: [a cat]}",
        "swan.mp4: {prompts: [{text: a cat}]}",
    ],
)
def test_prompts_may_be_plain(tmp_path, content):
    write_video(tmp_path / "clips" / "swan.mp4", clip(12))
    (tmp_path / "prompts.yaml").write_text(content, encoding="utf-8-sig")
    out = tmp_path / "b.jsonl"
    write_manifest([str(tmp_path / "clips"), str(tmp_path / "prompts.yaml"), str(out), "--license", "own"])
    (case,) = loaded(out)
    assert (case.id, case.prompt) == ("swan/p0/s0", "a cat") and case.category in ("own", "zoom")


@pytest.mark.parametrize("content", [None, "# mine\nclips: {a: 1}\n", "name: {"])
def test_a_file_of_the_user_s_own_is_not_replaced_by_the_header(tmp_path, content, capsys):
    write_frames(tmp_path / "clips" / "swan", clip(10))
    prompts = tmp_path / ("bench.yaml" if content is None else "prompts.yaml")
    prompts.write_text("swan: a dog")
    if content is not None:
        (tmp_path / "bench.yaml").write_text(content)
    before = (tmp_path / "bench.yaml").read_text()
    with pytest.raises(SystemExit) as stopped:
        write_manifest([str(tmp_path / "clips"), str(prompts), str(tmp_path / "bench.jsonl"), "--license", "own"])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and "call the output otherwise" in error
    assert (tmp_path / "bench.yaml").read_text() == before and not (tmp_path / "bench.jsonl").exists()
