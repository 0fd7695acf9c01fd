"""Video files as players show them: times, turns, proportions, and every container."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fastvmt.data.video_stream import open_video
from helpers.containers import ODD, encode, number, numbered, remux, with_matrix


def stored(path: Path) -> list[np.ndarray]:
    """Every frame that the decoder gives, as it is stored."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def numbers(path: Path, index: list[int] | None = None) -> list[int]:
    clip = open_video(path)
    return [number(picture) for picture in clip.pictures(range(len(clip.times)) if index is None else index)]


CONTAINERS = [
    ("mp4", "libx264"),
    ("mov", "libx264"),
    ("mkv", "libx264"),
    ("webm", "libvpx-vp9"),
    ("ts", "libx264"),
    ("mpg", "mpeg2video"),
    ("avi", "mpeg4"),
    ("avi", "libx264"),  # whose times are muddled
    ("h264", "libx264"),
]


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_every_container_gives_the_frames_in_order_and_at_their_times(tmp_path, suffix, codec):
    path = encode(tmp_path / f"a.{suffix}", 40, codec=codec)
    clip = open_video(path)
    assert (clip.name, clip.size, clip.fps, clip.constant) == ("a", (40, 48, 64), 24.0, True)
    assert clip.times == pytest.approx([t / 24 for t in range(40)], abs=6e-4)
    assert numbers(path) == list(range(40))
    assert numbers(path, [3, 4, 17, 31, 39]) == [3, 4, 17, 31, 39]
    assert any("rate is assumed" in note for note in clip.notes) is (suffix == "h264")


@given(index=st.sets(st.integers(0, 59), min_size=1, max_size=12), suffix=st.sampled_from(["mp4", "mkv", "ts", "avi"]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_frames_are_found_whether_by_keyframes_or_not(tmp_path_factory, index, suffix):
    path = tmp_path_factory.getbasetemp() / f"gop.{suffix}"
    if not path.exists():
        encode(path, 60, gop=7)
    assert numbers(path, sorted(index)) == sorted(index)


def test_a_phone_clip_is_turned_once(tmp_path):
    clip, raw = open_video(ODD / "rot90.mov"), stored(ODD / "rot90.mov")
    assert clip.size == (48, 192, 128) and "turned 90 degrees" in clip.notes[0]
    for shown, picture in zip(clip.pictures([0, 20, 47]), (raw[0], raw[20], raw[47]), strict=True):
        assert np.array_equal(shown, np.rot90(picture))


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((ONE, 0, 0, ONE), lambda p: p),
        ((0, ONE, -ONE, 0), lambda p: np.rot90(p, -1)),  # the top goes to the right
        ((-ONE, 0, 0, -ONE), lambda p: p[::-1, ::-1]),
        ((0, -ONE, ONE, 0), np.rot90),
        ((-ONE, 0, 0, ONE), lambda p: p[:, ::-1]),  # selfies
        ((ONE, 0, 0, -ONE), lambda p: p[::-1]),
        ((0, ONE, ONE, 0), lambda p: p.transpose(1, 0, 2)),
    ],
)
def test_the_display_matrix_is_followed(tmp_path, matrix, shown):
    path = with_matrix(ODD / "rot90.mov", tmp_path / "a.mov", *matrix)
    assert np.array_equal(next(open_video(path).pictures([5])), shown(stored(path)[5]))


def test_a_slanted_display_is_refused(tmp_path):
    path = with_matrix(ODD / "rot90.mov", tmp_path / "a.mov", 46341, 46341, -46341, 46341)
    with pytest.raises(ValueError, match="other than quarters"):
        open_video(path)


def test_an_edit_list_is_followed():
    """Its first 32 stored frames are cut away."""
    clip = open_video(ODD / "trimmed.mp4")
    assert clip.size == (16, 128, 192) and clip.times == pytest.approx([t / 24 for t in range(16)])
    assert "32 more are cut away by its edit list" in clip.notes
    read = clip.read().frames_THWC.numpy()
    assert np.array_equal(read, np.stack(stored(ODD / "trimmed.mp4")))
    pattern = stored(ODD / "rot90.mov")  # the same pattern, all of it
    distance = [np.abs(read[0].astype(float) - each).mean() for each in pattern]
    assert int(np.argmin(distance)) == 32


def test_pixels_that_are_not_square_become_square():
    clip = open_video(ODD / "anamorphic.mp4")
    assert clip.size == (48, 128, 419) and "pixels of 24/11 shown square" in clip.notes
    wide = next(clip.pictures([7])).astype(float)
    raw = np.asarray(Image.fromarray(stored(ODD / "anamorphic.mp4")[7]).resize((419, 128), Image.Resampling.BICUBIC))
    near, moved = (np.abs(wide - np.roll(raw, by, 1)).mean() for by in (0, 4))
    assert near < 5 < 2 * near < moved


def test_a_varying_rate_keeps_its_times():
    clip = open_video(ODD / "vfr.mp4")
    assert clip.times == pytest.approx([t / 24 for t in range(13)] + [0.75, 1, 1.25, 1.5, 1.75])
    assert not clip.constant and clip.fps == pytest.approx(17 / 1.75)
    assert [clip.nearest(0, i, 2) for i in range(5)] == [0, 12, 14, 16, 18]  # at 0, .5, 1, 1.5 s; then it is over
    assert [clip.nearest(0, i, 4) for i in range(8)] == [0, 6, 12, 13, 14, 15, 16, 17]


def test_animations(tmp_path):
    gif = open_video(ODD / "anim.gif")
    assert gif.size == (24, 64, 96) and gif.times == pytest.approx([0.08 * t for t in range(24)], abs=0.1)
    assert np.array_equal(gif.read().frames_THWC.numpy(), np.stack(stored(ODD / "anim.gif")))
    frames = [Image.fromarray(numbered(t, (48, 64))) for t in range(20)]
    how = {"save_all": True, "append_images": frames[1:], "duration": [50] * 10 + [100] * 10, "lossless": True}
    frames[0].save(tmp_path / "a.webp", **how)
    webp = open_video(tmp_path / "a.webp")
    assert webp.times == pytest.approx([0.05 * t for t in range(10)] + [0.5 + 0.1 * t for t in range(10)])
    assert numbers(tmp_path / "a.webp") == list(range(20)) and numbers(tmp_path / "a.webp", [2, 9]) == [2, 9]


def test_an_elementary_stream_is_read_at_a_rate_that_is_said_to_be_assumed():
    clip = open_video(ODD / "raw.h264")
    assert (clip.size, clip.fps) == ((48, 128, 192), 24.0)
    assert clip.notes == ("it states no times: the rate is assumed",)


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_a_stream_that_begins_between_keyframes_begins_at_the_first(tmp_path, suffix):
    path = remux(encode(tmp_path / "a.mp4", 40), tmp_path / f"b.{suffix}", skip=3)
    assert numbers(path) == list(range(8, 40)) and open_video(path).times[0] == 0


def decord_frames(path: Path) -> np.ndarray:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(range(len(reader))).asnumpy()


@pytest.mark.skipif(importlib.util.find_spec("decord") is None, reason="decord is not installed")
@pytest.mark.parametrize("name", ["plain", "rot90.mov", "vfr.mp4"])
def test_another_reader_agrees(tmp_path, name):
    path = encode(tmp_path / "a.mp4", 40, (96, 128)) if name == "plain" else ODD / name
    assert np.array_equal(open_video(path).read().frames_THWC.numpy(), decord_frames(path))


@pytest.mark.skipif(importlib.util.find_spec("decord") is None, reason="decord is not installed")
def test_previews_are_the_same_frames_or_none(tmp_path):
    small = open_video(encode(tmp_path / "a.mp4", 40, (96, 128))).previews([0, 7, 31, 39])
    assert small is not None and [number(picture) for picture in small] == [0, 7, 31, 39]
    assert np.shape(small) == (4, 54, 96, 3)
    for name in ("trimmed.mp4", "anim.gif", "raw.h264"):  # decord sees other frames, or none
        assert open_video(ODD / name).previews([0, 1]) is None
