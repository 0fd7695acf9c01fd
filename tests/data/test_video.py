"""Reading, writing, resampling and panels of videos."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvmt.backbones.layout import Layout
from fastvmt.benchmarks import SingleClip
from fastvmt.data import video as video_module
from fastvmt.data.panel import side_by_side
from fastvmt.data.resample import prepare, shrunk
from fastvmt.data.video import ENLARGED, read_metadata, read_video, write_video
from fastvmt.types import Video
from fastvmt.world.scene import render, sample_scene


def world_video(frames: int = 9, size: int = 96, fps: float = 8.0) -> Video:
    scene = sample_scene(np.random.default_rng(0), frames, "camera")
    return Video(torch.from_numpy(render(scene, size).frames_THWC), fps, "clip")


def numbered(frames: int, height: int = 8, width: int = 8, fps: float = 8.0) -> Video:
    """Frame t is a flat image of value t."""
    values = torch.arange(frames, dtype=torch.uint8)[:, None, None, None]
    return Video(values.expand(-1, height, width, 3).contiguous(), fps, "numbered")


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


@pytest.mark.parametrize("decoder", ["_decode_pyav", "_decode_decord"])
def test_lossless_files_hold_every_value(tmp_path: Path, decoder: str) -> None:
    if decoder == "_decode_decord" and not importlib.util.find_spec("decord"):
        pytest.skip("decord is not installed")
    g = torch.Generator().manual_seed(0)
    video = Video(torch.randint(0, 256, (5, 48, 33, 3), generator=g, dtype=torch.uint8), 12.5)
    write_video(tmp_path / "a.mp4", video, {"comment": "AI-generated"}, lossless=True)
    assert np.array_equal(getattr(video_module, decoder)(tmp_path / "a.mp4"), video.frames_THWC.numpy())
    assert read_video(tmp_path / "a.mp4").fps == pytest.approx(12.5)
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


@pytest.mark.skipif(importlib.util.find_spec("decord") is None, reason="decord is not installed")
def test_both_decoders_agree(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", world_video())
    decord, pyav = (
        video_module._decode_decord(tmp_path / "a.mp4"),
        video_module._decode_pyav(tmp_path / "a.mp4"),
    )
    assert np.array_equal(decord, pyav)


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


@given(count=st.integers(5, 60), native=st.floats(1, 60), target=st.floats(1, 60), start=st.integers(0, 4))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_resampling_takes_the_nearest_frame_in_time(count: int, native: float, target: float, start: int) -> None:
    source = numbered(count, fps=native)
    clip, _ = prepare(source, frames=5, height=8, width=8, fps=target, start=start, policy="pad_last")
    for i, value in enumerate(clip.frames_THWC[:, 0, 0, 0].tolist()):
        wanted = start + i * native / target
        assert value == count - 1 if wanted > count - 0.5 else abs(value - wanted) <= 0.5 + 1e-6
    assert clip.fps == target


def test_doubled_rate_repeats_frames_evenly() -> None:
    clip, _ = prepare(numbered(9), frames=9, height=8, width=8, fps=16)
    assert clip.frames_THWC[:, 0, 0, 0].tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_short_clips() -> None:
    video = numbered(12)
    with pytest.raises(ValueError, match="12 frames.*backbone.frames=9 or frame_policy=pad_last"):
        prepare(video, frames=13, height=8, width=8)
    padded, _ = prepare(video, frames=17, height=8, width=8, policy="pad_last")
    assert padded.frames_THWC[:, 0, 0, 0].tolist() == [*range(12), *[11] * 5]
    rounded, line = prepare(video, frames=17, height=8, width=8, policy="round_down")
    assert rounded.size[0] == 9
    assert "12 frames" in line and "9 frames" in line
    with pytest.raises(ValueError, match="frame_policy=pad_last"):
        prepare(numbered(3), frames=9, height=8, width=8, policy="round_down")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"frames": 32}, "frames=33"),
        ({"start": 12}, "start=12"),
        ({"fps": 0.0}, "fps"),
        ({"height": 0}, "height=0"),
    ],
)
def test_illegal_numbers(override: dict[str, float], message: str) -> None:
    arguments = {"frames": 9, "height": 8, "width": 8, "fps": None, "start": 0} | override
    with pytest.raises(ValueError, match=message):
        prepare(numbered(12), **arguments)  # type: ignore[arg-type]


def test_cover_crops_the_centre_and_keeps_the_aspect() -> None:
    frames = torch.zeros(5, 60, 120, 3, dtype=torch.uint8)
    frames[:, :, 30:90] = 200  # exactly the central square
    clip, line = prepare(Video(frames, 8.0), frames=5, height=20, width=20)
    assert clip.frames_THWC.float().mean() > 195
    assert "crop x 30-90, y 0-60" in line
    same, _ = prepare(numbered(5), frames=5, height=8, width=8)
    assert torch.equal(same.frames_THWC, numbered(5).frames_THWC)


def test_masks_take_the_nearest_pixel_of_the_same_crop() -> None:
    g = torch.Generator().manual_seed(0)
    frames = torch.where(torch.rand(5, 60, 120, 1, generator=g) > 0.5, 255, 0).byte().expand(-1, -1, -1, 3)
    clip, line = prepare(Video(frames, 8.0), frames=5, height=20, width=20, mask=True)
    assert torch.equal(clip.frames_THWC, frames[:, 1::3, 31:90:3])  # the middle of every 3 x 3 pixels
    assert "crop x 30-90, y 0-60" in line


def test_side_by_side() -> None:
    row = side_by_side([numbered(5, 8, 6), numbered(5, 4, 10)])
    assert row.size == (5, 8, 16)
    assert row.frames_THWC[3, 3, :, 0].tolist() == [3] * 16
    assert row.frames_THWC[3, 0, :, 0].tolist() == [3] * 6 + [0] * 10
    labelled = side_by_side([world_video(), world_video()], ["reference", "generated"])
    assert labelled.size[1] > 96
    assert labelled.frames_THWC[0, : labelled.size[1] - 96].max() > 100
    with pytest.raises(ValueError, match="equal length"):
        side_by_side([numbered(5), numbered(6)])
    with pytest.raises(ValueError, match="labels"):
        side_by_side([numbered(5)], ["a", "b"])


@pytest.mark.parametrize("width", [32, 40, 48, 56, 72])
def test_narrow_clips_are_read(tmp_path: Path, width: int) -> None:
    """decord cannot copy frames of some small widths."""
    video = Video(world_video().frames_THWC[:, :48, :width].contiguous(), 8.0)
    write_video(tmp_path / "a.mp4", video)
    back = read_video(tmp_path / "a.mp4")
    assert back.size == (9, 48, width)
    assert (back.frames_THWC.float() - video.frames_THWC.float()).abs().mean() < 4


@pytest.mark.parametrize(("fps", "warned"), [(60.0, True), (8.0, False)])
def test_a_clip_that_shows_a_moment_only_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fps: float, warned: bool
) -> None:
    write_video(tmp_path / "clip.mp4", world_video(fps=fps), {})
    layout = Layout("wan", 9, 48, 48, 3, 2, 4, 4, (1, 2, 2), 2)
    SingleClip(layout, 8.0, 0, video=str(tmp_path / "clip.mp4"), prompt="a dog on grass")
    assert ("0.15 s" in caplog.text) is warned
