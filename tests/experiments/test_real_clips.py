"""The table of real clips, from two small files and the random model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.probes.real_clips import main
from fastvmt.data.video import write_video
from helpers.clips import clip

SMALL = [
    "backbone.height=48",
    "backbone.width=48",
    "sampler.steps=2",
    "guidance.block=1",
    "guidance.iterations=2",
    "skip.delta=2",
    "guidance.fraction=0.5",
]
ODD = "two, 'b' (1)=c"
"""A file name that would not pass the command line's grammar unquoted."""


def test_a_folder_without_clips_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} holds no .mp4 files"):
        main([str(tmp_path)])


@pytest.mark.slow
def test_every_clip_is_a_line_and_finished_runs_are_kept(random_wan: Path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("one", ODD):
        write_video(folder / f"{name}.mp4", clip(12), {})
    arguments = [str(folder), "--results", str(tmp_path), f"backbone.path={random_wan}", *SMALL]
    main(arguments)
    content = json.loads((tmp_path / "real_clips.json").read_text())
    assert {method: list(scores) for method, scores in content["scores"].items()} == {
        "none": ["one", ODD],
        "fastvmt": ["one", ODD],
    }
    text = (tmp_path / "real_clips.md").read_text()
    plain, guided = (content["scores"][m]["one"]["text_similarity"] for m in ("none", "fastvmt"))
    assert f"{plain:.2f} / {guided:.2f}" in next(line for line in text.splitlines() if line.startswith("| one |"))
    videos = {p: p.stat().st_mtime_ns for p in tmp_path.glob("outputs/real_clips/*/*/cases/*/generated.mp4")}
    assert len(videos) == 4
    main(arguments)
    assert all(p.stat().st_mtime_ns == time for p, time in videos.items())
