"""Folders of frames as clips: pixels, order, hashes, and what cannot be read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fastvmt.benchmarks import SingleClip
from fastvmt.data.frame_folder import clip_sha256, frame_files, is_frame_folder, open_folder, read_clip, read_picture
from helpers.clips import brightness, clip, write_frames
from helpers.manifests import SHAPE


def test_frame_folder_keeps_pixels_and_the_order_of_numbers(tmp_path):
    video = clip(12)
    video.frames_THWC[..., 0] = 7  # red and blue differ
    write_frames(tmp_path / "swan", video)
    (tmp_path / "swan" / "notes.txt").write_text("not a frame")
    back = open_folder(tmp_path / "swan", 24.0).read()
    assert torch.equal(back.frames_THWC, video.frames_THWC)  # 10 comes after 9, not after 1
    assert (back.name, back.fps) == ("swan", 24.0)
    assert torch.equal(read_clip(tmp_path / "swan", 24.0).frames_THWC, back.frames_THWC)
    assert is_frame_folder(tmp_path / "swan") and not is_frame_folder(tmp_path)


def test_frame_folders_that_cannot_be_read(tmp_path):
    write_frames(tmp_path / "a", clip(3))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_folder(tmp_path / "nowhere", 24.0).read()
    with pytest.raises(ValueError, match="frame rate"):
        read_clip(tmp_path / "a")
    with pytest.raises(ValueError, match="fps=0"):
        open_folder(tmp_path / "a", 0).read()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no .jpg"):
        open_folder(tmp_path / "empty", 24.0).read()
    before = clip_sha256(tmp_path / "a")
    (tmp_path / "a" / "1.png").write_bytes(b"no picture")
    assert clip_sha256(tmp_path / "a") != before
    with pytest.raises(ValueError, match=r"1\.png.*cannot be decoded"):
        open_folder(tmp_path / "a", 24.0).read()
    cv2.imwrite(str(tmp_path / "a" / "1.png"), np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(ValueError, match="one size"):
        open_folder(tmp_path / "a", 24.0).read()


def test_sha_of_a_folder_depends_on_the_order_of_frames(tmp_path):
    write_frames(tmp_path / "a", clip(3))
    before = clip_sha256(tmp_path / "a")
    names = frame_files(tmp_path / "a")
    names[0].rename(tmp_path / "a" / "t.png"), names[1].rename(names[0])
    (tmp_path / "a" / "t.png").rename(names[1])
    assert clip_sha256(tmp_path / "a") != before


def test_a_folder_of_frames_is_a_clip_of_ones_own(tmp_path):
    write_frames(tmp_path / "swan", clip(20))
    how = {"video": str(tmp_path / "swan"), "prompt": "a bird", "cut_policy": "ignore"}
    own = SingleClip(SHAPE, 8.0, 0, **how)[0]
    assert brightness(own.reference) == list(range(9)) and own.reference.fps == 8
    faster = SingleClip(SHAPE, 8.0, 0, **how, sample_fps=24.0, start=2)[0]
    assert brightness(faster.reference) == list(range(2, 11)) and faster.reference.fps == 24


def test_hidden_files_are_no_frames(tmp_path):
    write_frames(tmp_path / "a", clip(3))
    before = clip_sha256(tmp_path / "a")
    (tmp_path / "a" / "._1.png").write_bytes(b"what macOS leaves on other disks")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"")
    assert open_folder(tmp_path / "a", 8.0).size == (3, 48, 64) and clip_sha256(tmp_path / "a") == before


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["1.png", "2.png", "4.png", "9.png"], "frame 3 is missing between the frames '2.png' and '4.png'"),
        (["0.png", "5.png", "10.png", "20.png"], "frame 15 is missing between the frames '10.png' and '20.png'"),
        (["a_08_v2.png", "a_09_v2.png", "a_11_v2.png"], "between the frames 'a_09_v2.png' and 'a_11_v2.png'"),
        (["1.png", "01.png", "2.png"], "the number does not go up between the frames '01.png' and '1.png'"),
        (["1.png", "2.jpg", "3.png"], "frames '1.png' and '2.jpg' are of several kinds"),
        (["1.png", "2.png", "cover.png"], "frame 'cover.png' has no number, others have"),
    ],
)
def test_gaps_and_mixtures_name_the_first_one(tmp_path, names, reason):
    (tmp_path / "a").mkdir()
    for name in names:
        cv2.imwrite(str(tmp_path / "a" / name), np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=reason) as refused:
        open_folder(tmp_path / "a", 8.0)
    assert str(tmp_path / "a") in str(refused.value)


@pytest.mark.parametrize(
    "names",
    [["0.png", "5.png", "10.png"], ["7.png", "8.png"], ["b.png", "a.png"], ["s1_3_x.png", "s1_4_x.png"], ["3.png"]],
)
def test_numbers_may_begin_anywhere_and_go_in_steps(tmp_path, names):
    (tmp_path / "a").mkdir()
    for name in names:
        cv2.imwrite(str(tmp_path / "a" / name), np.zeros((5, 6, 3), np.uint8))
    assert open_folder(tmp_path / "a", 8.0).size == (len(names), 5, 6)


def test_only_the_frames_asked_for_are_read(tmp_path):
    write_frames(tmp_path / "a", clip(6))
    (tmp_path / "a" / "5.png").write_bytes(b"damaged")
    video = open_folder(tmp_path / "a", 8.0).read([1, 3])
    assert brightness(video) == [1, 3]


def test_links_that_lead_nowhere_and_folders_are_no_frames(tmp_path):
    write_frames(tmp_path / "a", clip(3))
    (tmp_path / "a" / "3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(ValueError, match="'3.png' is no file"):
        open_folder(tmp_path / "a", 8.0)
    (tmp_path / "a" / "3.png").unlink()
    (tmp_path / "a" / "3.png").mkdir()
    with pytest.raises(ValueError, match="'3.png' is no file"):
        open_folder(tmp_path / "a", 8.0)


def test_a_damaged_picture_is_told_once(tmp_path, capfd):
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nxxxx")
    with pytest.raises(ValueError, match="0.png' cannot be decoded"):
        read_picture(tmp_path / "0.png")
    assert capfd.readouterr().err == ""
