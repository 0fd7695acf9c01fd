"""Clips of another system are a row: scored as the study's own, without costs, in every table."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from fastvmt.data.video import read_video, write_video
from fastvmt.engine.adopt import main
from fastvmt.engine.loaded import Loaded
from fastvmt.engine.rescore import main as rescore
from fastvmt.files import read_json, write_json
from fastvmt.results.folder import RunFolder, slug
from fastvmt.studies.table_command import make_table
from fastvmt.types import Video


@pytest.fixture
def clips(small_study: Path, tmp_path: Path) -> Path:
    """The pixels of the study's first row under their cases' names, of another size and rate."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for record in RunFolder(small_study / "rows" / "method=fastvmt").records():
        (file,) = [
            cell / "generated_lossless.mp4"
            for cell in small_study.glob("cache/cells/*/*")
            if read_json(cell / "case.json")["frames_sha256"] == record.frames_sha256
        ]
        video = read_video(file)
        write_video(folder / f"{slug(record.id)}.mp4", Video(video.frames_THWC, 2 * video.fps), lossless=True, scale=2)
    return folder


def test_clips_become_a_row_with_the_scores_of_the_same_pixels_and_no_costs(
    study: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Loaded, "load", lambda _: pytest.fail("the model was loaded"))
    assert rescore([str(study), "metrics.also=[temporal_flickering]"]) == 0
    assert main([str(clips), "--row", "official code", "--study", str(study)]) == 0
    assert "| `official code` | 2 | n/a |" in capsys.readouterr().out
    owns, others = (RunFolder(study / "rows" / name).records() for name in ("method=fastvmt", "official-code"))
    assert [record.scores for record in others] == [record.scores for record in owns] and others[0].scores
    assert len(others) == 2 and others[0].frames_sha256 == owns[0].frames_sha256
    for record in others:
        assert (record.maker["commit"], record.weights, record.seconds) == ("none", "none", {})
        assert math.isnan(record.cost.process_cpu_seconds)
    make_table([study], ["gradients", "loop_seconds", "loop_ratio"], study)
    table = read_json(study / "table.json")
    assert [row["row"] for row in table["rows"]] == ["method=fastvmt", "method=none", "official code"]
    assert all(cell["mean"] is None for cell in table["rows"][-1]["cells"].values())
    assert any("other systems" in line and "official code" in line for line in table["caption"])
    assert table["command"].endswith("method=fastvmt,none") and "official" not in table["command"]
    assert main([str(clips), "--row", "official code", "--study", str(study)]) == 0  # again: in its place


def test_a_stopped_command_can_be_repeated(study: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as stopped:
        stopped.setattr("fastvmt.engine.adopt.adopted_content", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            main([str(clips), "--row", "others", "--study", str(study)])
    assert list((study / "rows" / "others").iterdir())
    assert main([str(clips), "--row", "others", "--study", str(study)]) == 0
    assert len(RunFolder(study / "rows" / "others").records()) == 2


def test_what_does_not_fit_is_told_in_one_line(
    study: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str) -> str:
        assert main([*words, "--study", str(study)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("fastvmt.adopt: ") and error.count("\n") == 1
        return error

    assert "has no clip of a case, such as " in refused(str(tmp_path), "--row", "others")
    (study / "rows" / "taken").mkdir()
    (study / "rows" / "taken" / "config.yaml").touch()
    assert "is another row's folder" in refused(str(clips), "--row", "taken")
    for empty in ("", "  "):
        assert "--row is empty" in refused(str(clips), "--row", empty)
    first, second = sorted(clips.iterdir())
    second.unlink()
    video = read_video(first)
    write_video(first, Video(video.frames_THWC[:5], video.fps / 2), lossless=True)
    assert "give clips of 9 frames, or longer ones" in refused(str(clips), "--row", "others")
    assert not (study / "rows" / "others").exists()
    own = study / "rows" / "method=fastvmt" / "result.json"
    content = read_json(own)
    write_json(own, content | {"overrides": [*content["overrides"], "seeds=[1000]"]})
    assert "is none that its words make" in refused(str(clips), "--row", "others")
    shutil.rmtree(study / "rows")
    assert "holds no finished run" in refused(str(clips), "--row", "others")
