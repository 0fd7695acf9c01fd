"""Which frames are taken, how they are resized, and what is said about them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvmt.data.clip import Clip
from fastvmt.data.resample import doubts, prepare
from fastvmt.types import ClipShape, Video
from helpers.clips import clip as moving
from helpers.clips import in_memory


def numbered(frames: int, height: int = 8, width: int = 8, fps: float = 8.0) -> Clip:
    """Frame t is a flat image of value t."""
    values = torch.arange(frames, dtype=torch.uint8)[:, None, None, None]
    return in_memory(Video(values.expand(-1, height, width, 3).contiguous(), fps, "numbered"))


@given(count=st.integers(5, 60), native=st.floats(1, 60), target=st.floats(1, 60), start=st.integers(0, 4))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_resampling_takes_the_nearest_frame_in_time(count: int, native: float, target: float, start: int) -> None:
    source = numbered(count, fps=native)
    clip, _ = prepare(source, ClipShape(5, 8, 8, 4), fps=target, start=start, policy="pad_last")
    for i, value in enumerate(clip.frames_THWC[:, 0, 0, 0].tolist()):
        wanted = start + i * native / target
        assert value == count - 1 if wanted > count - 0.5 else abs(value - wanted) <= 0.5 + 1e-6
    assert clip.fps == target


def test_doubled_rate_repeats_frames_evenly() -> None:
    clip, _ = prepare(numbered(9), ClipShape(9, 8, 8, 4), fps=16)
    assert clip.frames_THWC[:, 0, 0, 0].tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_short_clips() -> None:
    video = numbered(12)
    with pytest.raises(ValueError, match="12 frames.*backbone.frames=9 or frame_policy=pad_last"):
        prepare(video, ClipShape(13, 8, 8, 4))
    padded, _ = prepare(video, ClipShape(17, 8, 8, 4), policy="pad_last")
    assert padded.frames_THWC[:, 0, 0, 0].tolist() == [*range(12), *[11] * 5]
    rounded, line = prepare(video, ClipShape(17, 8, 8, 4), policy="round_down")
    assert rounded.size[0] == 9
    assert "12 frames" in line and "9 frames" in line
    with pytest.raises(ValueError, match="frame_policy=pad_last"):
        prepare(numbered(3), ClipShape(9, 8, 8, 4), policy="round_down")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"frames": 32}, "frames=33"),
        ({"start": 12}, "start=12"),
        ({"fps": 0.0}, "fps"),
        ({"fps": math.inf}, "fps=inf"),
        ({"height": 0}, "height=0"),
    ],
)
def test_illegal_numbers(override: dict, message: str) -> None:
    shape = {"frames": 9, "height": 8, "width": 8, "step": 4}
    shape |= {key: override[key] for key in override if key in shape}
    how = {key: override[key] for key in override if key not in shape}
    with pytest.raises(ValueError, match=message):
        prepare(numbered(12), ClipShape(**shape), **how)


def test_cover_crops_the_centre_and_keeps_the_aspect() -> None:
    frames = torch.zeros(5, 60, 120, 3, dtype=torch.uint8)
    frames[:, :, 30:90] = 200  # exactly the central square
    clip, line = prepare(in_memory(Video(frames, 8.0)), ClipShape(5, 20, 20, 4))
    assert clip.frames_THWC.float().mean() > 195
    assert "crop x 30-90, y 0-60" in line
    same, _ = prepare(numbered(5), ClipShape(5, 8, 8, 4))
    assert torch.equal(same.frames_THWC, numbered(5).read().frames_THWC)


def test_masks_take_the_nearest_pixel_of_the_same_crop() -> None:
    g = torch.Generator().manual_seed(0)
    frames = torch.where(torch.rand(5, 60, 120, 1, generator=g) > 0.5, 255, 0).byte().expand(-1, -1, -1, 3)
    clip, line = prepare(in_memory(Video(frames, 8.0)), ClipShape(5, 20, 20, 4), mask=True)
    assert torch.equal(clip.frames_THWC, frames[:, 1::3, 31:90:3])  # the middle of every 3 x 3 pixels
    assert "crop x 30-90, y 0-60" in line


def at_times(times: list[float], fps: float) -> Clip:
    """Frame t is a flat image of value t, shown at its own time."""
    flat = numbered(len(times))
    return Clip("uneven", tuple(times), fps, 8, 8, flat.pictures)


@given(
    gaps=st.lists(st.sampled_from([1 / 60, 1 / 24, 0.1, 0.5]), min_size=6, max_size=30),
    target=st.floats(1, 60),
    start=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_varying_rate_is_sampled_by_time(gaps: list[float], target: float, start: int) -> None:
    times = [math.fsum(gaps[:t]) for t in range(len(gaps) + 1)]
    clip, _ = prepare(
        at_times(times, len(gaps) / times[-1]), ClipShape(5, 8, 8, 4), fps=target, start=start, policy="pad_last"
    )
    for i, value in enumerate(clip.frames_THWC[:, 0, 0, 0].tolist()):
        wanted = times[start] + i / target
        assert abs(times[value] - wanted) <= min(abs(time - wanted) for time in times) + 1e-9


def test_the_line_for_the_log_counts_pictures_and_says_the_times() -> None:
    _, line = prepare(numbered(12), ClipShape(17, 8, 8, 4), start=2, policy="pad_last")
    assert "12 frames of 8x8 at 8 fps" in line and "frames 2-11, 0.250-1.375 s, 10 distinct pictures" in line
    same = in_memory(Video(torch.zeros(9, 8, 8, 3, dtype=torch.uint8), 8.0))
    assert "1 distinct pictures" in prepare(same, ClipShape(9, 8, 8, 4))[1]
    uneven = at_times([0, 0.1, 0.2, 0.9, 1.6], 2.5)
    assert "at 2.5 fps, the mean of a rate that varies ->" in prepare(uneven, ClipShape(5, 8, 8, 4))[1]


def test_doubts() -> None:
    uneven, shape = at_times([0, 0.1, 0.2, 0.9, 1.6], 2.5), ClipShape(5, 8, 8, 4)
    assert any("fps=<rate>" in doubt for doubt in doubts(uneven, prepare(uneven, shape)[0], None))
    assert not doubts(in_memory(moving(9)), moving(9), None)
    still = Video(torch.full((9, 8, 8, 3), 99, dtype=torch.uint8), 8.0)
    noisy = Video(still.frames_THWC + torch.randint(0, 3, (9, 8, 8, 3), dtype=torch.uint8), 8.0)
    for video in (still, noisy):
        assert any("no motion" in doubt for doubt in doubts(in_memory(video), video, 8.0))
    one, padded = numbered(1), prepare(numbered(1), ClipShape(5, 8, 8, 4), policy="pad_last")[0]
    assert any("no motion" in doubt for doubt in doubts(one, padded, None))


def test_a_whole_clip_beyond_the_memory_is_one_line() -> None:
    endless = Clip("endless", tuple(range(10**6)), 1.0, 10**5, 10**5, lambda index: iter(()))
    with pytest.raises(ValueError, match=r"endless.*1000000 frames take 27939677.* GiB"):
        endless.read()
