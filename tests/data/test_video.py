"""Writing videos and reading them back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fastvmt.data import video as video_module
from fastvmt.data.resample import shrunk
from fastvmt.data.video import ENLARGED, read_metadata, read_video, write_video
from fastvmt.types import Video
from fastvmt.world.scene import render, sample_scene


def world_video(frames: int = 9, size: int = 96, fps: float = 8.0) -> Video:
    scene = sample_scene(np.random.default_rng(0), frames, "camera")
    return Video(torch.from_numpy(render(scene, size).frames_THWC), fps, "clip")


@pytest.mark.parametrize(("size", "scale"), [(96, 1), (95, 1), (33, 3)])
def test_round_trip_keeps_pixels_rate_and_size(tmp_path: Path, size: int, scale: int) -> None:
    video = world_video(size=size, fps=12.5)
    write_video(tmp_path / "a.mp4", video, scale=scale)
    back = read_video(tmp_path / "a.mp4")
    side = size * scale
    assert back.size == (9, side + side % 2, side + side % 2)
    assert back.fps == pytest.approx(12.5)
    assert back.name == "a"
    kept = back.frames_THWC[:, :side:scale, :side:scale].float()
    assert (kept - video.frames_THWC.float()).abs().mean() < 4
    assert read_metadata(tmp_path / "a.mp4").get(ENLARGED, "1") == str(scale)
    write_video(tmp_path / "b.mp4", video, scale=scale, lossless=True)
    assert torch.equal(shrunk(read_video(tmp_path / "b.mp4"), scale).frames_THWC, video.frames_THWC)


def test_lossless_files_hold_every_value(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    video = Video(torch.randint(0, 256, (5, 48, 33, 3), generator=g, dtype=torch.uint8), 12.5)
    write_video(tmp_path / "a.mp4", video, {"comment": "AI-generated"}, lossless=True)
    back = read_video(tmp_path / "a.mp4")
    assert torch.equal(back.frames_THWC, video.frames_THWC) and back.fps == pytest.approx(12.5)
    assert read_metadata(tmp_path / "a.mp4")["comment"] == "AI-generated"


def test_same_input_gives_the_same_bytes_and_no_partial_file(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / "deep" / name, world_video(), {"config_hash": "abc"})
    written = {path.name: path.read_bytes() for path in (tmp_path / "deep").iterdir()}
    assert sorted(written) == ["a.mp4", "b.mp4"]
    assert written["a.mp4"] == written["b.mp4"]
    assert written["a.mp4"].index(b"moov") < written["a.mp4"].index(b"mdat")  # fast start


def test_metadata_round_trip(tmp_path: Path) -> None:
    tags = {"comment": "AI-generated", "config_hash": "0123abcd", "prompt": "a dog on grass: ünïcode"}
    write_video(tmp_path / "a.mp4", world_video(), tags)
    assert tags.items() <= read_metadata(tmp_path / "a.mp4").items()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", world_video())
    before = (tmp_path / "a.mp4").read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(video_module, "_encode", fail)
    with pytest.raises(OSError, match="disk full"):
        write_video(tmp_path / "a.mp4", world_video())
    assert (tmp_path / "a.mp4").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("kind", ["empty", "noise", "text", "cut"])
def test_bad_files_give_one_clear_error(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "good.mp4", world_video())
    good = (tmp_path / "good.mp4").read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    content = {"empty": b"", "noise": noise, "text": b"not a video", "cut": good[: len(good) // 2]}
    path = tmp_path / f"{kind}.mp4"
    path.write_bytes(content[kind])
    with pytest.raises(ValueError, match=f"{kind}.mp4") as caught:
        read_video(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_missing_files_and_bad_writes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        read_video(tmp_path / "none.mp4")
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        read_metadata(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match="scale=0"):
        write_video(tmp_path / "a.mp4", world_video(), scale=0)
    with pytest.raises(ValueError, match="fps"):
        write_video(tmp_path / "a.mp4", world_video(fps=0.0))


@pytest.mark.parametrize("width", [32, 40, 48, 56, 72])
def test_narrow_clips_are_read(tmp_path: Path, width: int) -> None:
    video = Video(world_video().frames_THWC[:, :48, :width].contiguous(), 8.0)
    write_video(tmp_path / "a.mp4", video)
    back = read_video(tmp_path / "a.mp4")
    assert back.size == (9, 48, width)
    assert (back.frames_THWC.float() - video.frames_THWC.float()).abs().mean() < 4
