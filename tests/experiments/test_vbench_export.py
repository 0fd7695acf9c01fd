"""Videos leave under the names that VBench reads, and its numbers come back to the right rows."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch

from experiments.tools.vbench_export import main, official, read, run_cases, write
from fastvmt.data.video import read_video, write_video
from fastvmt.files import write_json
from fastvmt.types import Video
from helpers.records import case_record


def make_run(folder: Path, cases: dict[str, int], lossless: bool = False) -> Path:
    """A run folder as the engine writes it: each case a grey video of its own brightness."""
    for name, grey in cases.items():
        case = folder / "cases" / name.replace("/", "-")
        case.mkdir(parents=True)
        frames = torch.full((5, 32, 32, 3), grey, dtype=torch.uint8)
        write_video(case / "generated.mp4", Video(frames, 8.0), scale=2)
        if lossless:
            write_video(case / "generated_lossless.mp4", Video(frames, 8.0), lossless=True)
        scores = {"motion_fidelity": grey / 100, "trajectory_cosine": math.nan}
        write_json(case / "case.json", case_record(name, prompt=f"a {name}", scores=scores).to_json())
    return folder


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    runs = [make_run(tmp_path / "ours", {"b/1": 20, "a/1": 60}), make_run(tmp_path / "base", {"a/1": 120})]
    (tmp_path / "ours" / "cases" / "unfinished").mkdir()
    main(["write", str(tmp_path / "out"), *map(str, runs)])
    return tmp_path / "out"


def test_videos_are_numbered_in_order_and_unchanged(exported: Path) -> None:
    files = sorted((exported / "videos").iterdir())
    assert [file.name for file in files] == ["00000.mp4", "00001.mp4", "00002.mp4"]
    listed = json.loads((exported / "manifest.json").read_text())["videos"]
    assert [(row["run"], row["case"]) for row in listed] == [("ours", "a/1"), ("ours", "b/1"), ("base", "a/1")]
    for file, grey in zip(files, (60, 20, 120), strict=True):
        video = read_video(file)
        assert video.fps == 8 and abs(video.frames_THWC.float().mean() - grey) < 3


def test_lossless_videos_are_preferred_and_never_mixed_with_others(tmp_path: Path, capsys) -> None:
    exact, lossy = make_run(tmp_path / "a", {"x": 33}, lossless=True), make_run(tmp_path / "b", {"y": 90})
    (row,) = write(tmp_path / "exact", [exact])
    assert row["copied"] == "generated_lossless.mp4"
    assert (read_video(tmp_path / "exact" / "videos" / "00000.mp4").frames_THWC == 33).all()
    (row,) = write(tmp_path / "lossy", [lossy])
    assert row["copied"] == "generated.mp4"
    assert (tmp_path / "lossy" / "videos" / "00000.mp4").read_bytes() == (lossy / "cases/y/generated.mp4").read_bytes()
    with pytest.raises(ValueError, match="lossless=true"):
        write(tmp_path / "both", [exact, lossy])
    main(["write", str(tmp_path / "again"), str(lossy)])
    assert "lossy; run with lossless=true" in " ".join(capsys.readouterr().out.split())


def test_a_sweeps_folder_stands_for_its_finished_rows(tmp_path: Path) -> None:
    for name, grey in (("l=3", 20), ("l=5", 60), ("l=7", 90)):
        run = make_run(tmp_path / "sweep" / "rows" / name, {"a/1": grey})
        if name != "l=7":  # stopped on the way
            (run / "result.json").write_text("{}")
    rows = write(tmp_path / "out", [tmp_path / "sweep"])
    assert [(row["run"], row["scores"]["motion_fidelity"]) for row in rows] == [("l=3", 0.2), ("l=5", 0.6)]


RESULTS = {
    "dynamic_degree": [
        0.5,
        [
            {"video_path": "/x/videos/00002.mp4", "video_results": True},
            {"video_path": "/x/videos/00000.mp4", "video_results": False},
        ],
    ],
    "imaging_quality": [0.6, [{"video_path": "/x/videos/00001.mp4", "video_results": 60.0}]],
}


def test_results_come_back_beside_ours(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    main(["read", str(exported), str(tmp_path / "results.json")])
    with (exported / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    degree = [float(row["vbench_official/dynamic_degree"]) for row in rows]
    assert degree[0] == 0 and math.isnan(degree[1]) and degree[2] == 1
    assert float(rows[1]["vbench_official/imaging_quality"]) == pytest.approx(0.6)
    assert [float(row["motion_fidelity"]) for row in rows] == [0.6, 0.2, 1.2]
    assert all(math.isnan(float(row["trajectory_cosine"])) for row in rows)
    assert [row["prompt"] for row in rows] == ["a a/1", "a b/1", "a a/1"]
    assert read(exported, tmp_path / "results.json")[2]["vbench_official/dynamic_degree"] == 1


def test_mistakes_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="give a new folder"):
        write(exported, [tmp_path / "ours"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no finished case"):
        run_cases(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"'00002\.mp4', which is not in the manifest"):
        official(RESULTS, {"00000.mp4", "00001.mp4"})
