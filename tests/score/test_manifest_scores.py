"""Clips that exist already, scored against the references of a manifest."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from fastvmt.benchmarks import ManifestBenchmark
from fastvmt.data.video import write_video
from fastvmt.score.command import main as score_files
from fastvmt.types import Video
from helpers.clips import write_frames
from helpers.manifests import SHAPE


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
    cases = {case.id: case for case in ManifestBenchmark(SHAPE, 8.0, 0, path=str(manifest))}
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
