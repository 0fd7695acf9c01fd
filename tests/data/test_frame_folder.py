"""Folders of frames as clips: pixels, order, hashes, and what cannot be read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fastvmt.benchmarks import SingleClip
from fastvmt.data.frame_folder import clip_sha256, frame_files, is_frame_folder, read_clip, read_frames
from helpers.clips import brightness, clip, write_frames
from helpers.manifests import LAYOUT


def test_frame_folder_keeps_pixels_and_the_order_of_numbers(tmp_path):
    video = clip(12)
    video.frames_THWC[..., 0] = 7  # red and blue differ
    write_frames(tmp_path / "swan", video)
    (tmp_path / "swan" / "notes.txt").write_text("not a frame")
    back = read_frames(tmp_path / "swan", 24.0)
    assert torch.equal(back.frames_THWC, video.frames_THWC)  # 10 comes after 9, not after 1
    assert (back.name, back.fps) == ("swan", 24.0)
    assert torch.equal(read_clip(tmp_path / "swan", 24.0).frames_THWC, back.frames_THWC)
    assert is_frame_folder(tmp_path / "swan") and not is_frame_folder(tmp_path)


def test_frame_folders_that_cannot_be_read(tmp_path):
    write_frames(tmp_path / "a", clip(3))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_frames(tmp_path / "nowhere", 24.0)
    with pytest.raises(ValueError, match="frame rate"):
        read_clip(tmp_path / "a")
    with pytest.raises(ValueError, match="fps=0"):
        read_frames(tmp_path / "a", 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no .jpg"):
        read_frames(tmp_path / "empty", 24.0)
    before = clip_sha256(tmp_path / "a")
    (tmp_path / "a" / "1.png").write_bytes(b"no picture")
    assert clip_sha256(tmp_path / "a") != before
    with pytest.raises(ValueError, match=r"1\.png.*cannot be decoded"):
        read_frames(tmp_path / "a", 24.0)
    cv2.imwrite(str(tmp_path / "a" / "1.png"), np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(ValueError, match="one size"):
        read_frames(tmp_path / "a", 24.0)


def test_sha_of_a_folder_depends_on_the_order_of_frames(tmp_path):
    write_frames(tmp_path / "a", clip(3))
    before = clip_sha256(tmp_path / "a")
    names = frame_files(tmp_path / "a")
    names[0].rename(tmp_path / "a" / "t.png"), names[1].rename(names[0])
    (tmp_path / "a" / "t.png").rename(names[1])
    assert clip_sha256(tmp_path / "a") != before


def test_a_folder_of_frames_is_a_clip_of_ones_own(tmp_path):
    write_frames(tmp_path / "swan", clip(20))
    own = SingleClip(LAYOUT, 8.0, 0, video=str(tmp_path / "swan"), prompt="a bird")[0]
    assert brightness(own.reference) == list(range(9)) and own.reference.fps == 8
    faster = SingleClip(LAYOUT, 8.0, 0, video=str(tmp_path / "swan"), prompt="a bird", sample_fps=24.0, start=2)[0]
    assert brightness(faster.reference) == list(range(2, 11)) and faster.reference.fps == 24
