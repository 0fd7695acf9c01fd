"""A clip of one's own: how it is read is said, and what is doubtful about it warned of."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from fastvmt.benchmarks import SingleClip
from fastvmt.data.video import write_video
from fastvmt.types import ClipShape, Video
from helpers.clips import clip, pan
from helpers.containers import ODD

SHAPE = ClipShape(9, 48, 48, 4)


def read(path: Path, **how) -> Video:
    return SingleClip(SHAPE, 8.0, 0, video=str(path), prompt="a dog", cut_policy="ignore", **how)[0].reference


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rot90.mov", "48 frames of 128x192 at 24 fps, turned 90 degrees counter-clockwise -> 9 frames of 48x48"),
        ("trimmed.mp4", "16 frames of 192x128 at 24 fps, 32 more are cut away by its edit list ->"),
        ("vfr.mp4", "18 frames of 192x128 at 9.71429 fps, the mean of a rate that varies ->"),
        ("anamorphic.mp4", "48 frames of 419x128 at 24 fps, pixels of 24/11 shown square ->"),
        ("raw.h264", "48 frames of 192x128 at 24 fps, it states no times: the rate is assumed ->"),
        ("anim.gif", "24 frames of 96x64 at 12 fps ->"),
    ],
)
def test_what_was_done_is_said(caplog, name, said):
    with caplog.at_level(logging.INFO):
        video = read(ODD / name)
    assert video.size == (9, 48, 48)
    assert said in caplog.text and "(frames 0-8, 0.000-" in caplog.text and "distinct pictures; crop x" in caplog.text


def test_a_varying_rate_is_taken_by_time_or_warned_about(caplog):
    with caplog.at_level(logging.INFO):
        video = read(ODD / "vfr.mp4", sample_fps=4.0, frame_policy="pad_last")
    assert "(frames 0-17, 0.000-1.750 s, 8 distinct pictures" in caplog.text and "varies and every" not in caplog.text
    assert video.fps == 4 and torch.equal(video.frames_THWC[7], video.frames_THWC[8])
    read(ODD / "vfr.mp4")
    assert "vfr.mp4: its frame rate varies and every frame is taken" in caplog.text


def test_a_trimmed_clip_has_no_more_than_a_player_shows():
    with pytest.raises(ValueError, match="trimmed gives only 4 frames from start=12"):
        read(ODD / "trimmed.mp4", start=12)


@pytest.mark.parametrize(("fps", "warned"), [(60.0, True), (8.0, False)])
def test_a_clip_that_shows_a_moment_only_is_warned_about(tmp_path, caplog, fps, warned):
    write_video(tmp_path / "clip.mp4", pan(9, (2, 1), fps=fps))
    read(tmp_path / "clip.mp4")
    assert ("only 0.15 s of it are used" in caplog.text) is warned


def test_a_frozen_clip_is_warned_about(tmp_path, caplog):
    write_video(tmp_path / "still.mp4", Video(clip(1).frames_THWC.expand(12, -1, -1, -1).contiguous(), 8.0))
    write_video(tmp_path / "one.mp4", clip(1))
    read(tmp_path / "still.mp4")
    read(tmp_path / "one.mp4", frame_policy="pad_last")
    assert caplog.text.count("no motion to transfer") == 2 and "1 distinct pictures" not in caplog.text
