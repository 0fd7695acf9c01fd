"""The first picture of a video, against the reader of whole files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastvmt.data.video import read_video, write_video
from fastvmt.data.video_poster import first_picture
from helpers.clips import clip


def test_it_is_the_first_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", clip(5))
    first = read_video(tmp_path / "clip.mp4").frames_THWC[0].numpy().astype(int)
    assert np.abs(first_picture(tmp_path / "clip.mp4", 64).astype(int) - first).max() <= 2
    small = first_picture(tmp_path / "clip.mp4", 32)
    assert small.shape == (24, 32, 3)
    blocks = first.reshape(24, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(small - blocks).mean() < 2


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"clip\.mp4.* cannot be decoded"):
        first_picture(tmp_path / "clip.mp4", 64)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        first_picture(tmp_path / "absent.mp4", 64)
