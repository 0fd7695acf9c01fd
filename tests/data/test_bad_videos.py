"""Files that cannot be read end in one line; damage is never shown; memory is bounded by the frames asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastvmt.data.frame_folder import open_clip
from fastvmt.data.video import write_video
from fastvmt.data.video_stream import open_video
from helpers.clips import clip as moving
from helpers.containers import ODD, encode, number, remux


def refused(path: Path, match: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind, match=match) as caught:
        open_video(path).read()
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_what_is_no_video(tmp_path):
    refused(ODD / "audio_only.mp4", "has no video stream: it holds audio")
    refused(tmp_path, "is a folder", FileNotFoundError)
    refused(tmp_path / "none.mp4", "does not exist", FileNotFoundError)
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", r"is empty \(0 bytes\)")
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(tmp_path / "pipe.mp4", "a device, a pipe or a socket", FileNotFoundError)
    with pytest.raises(FileNotFoundError, match="a device"):
        open_clip(Path("/dev/zero"))
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    refused(tmp_path / "list.mp4", "cannot be decoded")


def test_names_that_look_like_protocols_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "a.mp4", 3).rename(tmp_path / "concat:a.mp4")
    assert open_video(Path("concat:a.mp4")).size[0] == 3


@pytest.mark.parametrize("length", [0, 1, 0x7FFFFFFF])
def test_a_stated_duration_is_not_believed(tmp_path, length):
    path = encode(tmp_path / "a.mp4", 12)
    data = bytearray(path.read_bytes())
    for box, at in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        start = data.index(box) + at
        data[start : start + 4] = length.to_bytes(4, "big")
    path.write_bytes(data)
    clip = open_video(path)
    assert [number(picture) for picture in clip.pictures(range(12))] == list(range(12)) and clip.fps == 24


def test_damage_in_the_middle_is_refused_and_frames_beside_it_are_read(tmp_path):
    path = encode(tmp_path / "a.mp4", 48, gop=8)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    middle = start + (len(data) - start) // 2
    data[middle : middle + 60] = bytes(60)
    path.write_bytes(data)
    refused(path, "damaged")
    clip = open_video(path)
    assert [number(picture) for picture in clip.pictures([0, 7, 46, 47])] == [0, 7, 46, 47]


def test_one_flipped_byte_is_noticed(tmp_path):
    """Decoders conceal it; pictures built on it would be wrong without a word."""
    path = encode(tmp_path / "a.mp4", 16, (96, 128), gop=16)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 1200  # within the first picture, behind its headers
    data[start] ^= 0xFF
    path.write_bytes(data)
    refused(path, r"damaged")


def test_files_that_are_cut_short(tmp_path):
    path = encode(tmp_path / "a.mp4", 48)
    for suffix in ("mov", "mkv", "ts"):
        part = remux(path, tmp_path / f"b.{suffix}")
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
        if suffix == "mov":  # its index came last
            refused(part, "cannot be decoded")
        else:  # streams may end anywhere
            clip = open_video(part)
            found = [number(picture) for picture in clip.pictures(range(len(clip.times) - 1))]
            assert 0 < len(found) < 40 and found == list(range(len(found)))
    write_video(tmp_path / "c.mp4", moving(40))
    part = tmp_path / "d.mp4"
    part.write_bytes((tmp_path / "c.mp4").read_bytes()[: -(tmp_path / "c.mp4").stat().st_size // 3])
    refused(part, r"cut short: \d+ of 40 frames are there")


BOUNDED = """
import resource, sys, warnings
warnings.filterwarnings("ignore")
from fastvmt.benchmarks import SingleClip
from fastvmt.types import ClipShape
shape = ClipShape(9, 480, 832, 4)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 700 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for fps in (None, 0.15):
    case = SingleClip(shape, 8.0, 0, video=sys.argv[1], prompt="x", sample_fps=fps, cut_policy="ignore")[0]
    assert case.reference.size == (9, 480, 832)
"""


def test_memory_is_bounded_by_the_frames_asked_for(tmp_path):
    """One minute of 1080p at 60 frames a second, 21 GB when decoded, within 700 MB."""
    path = encode(tmp_path / "a.mp4", 48, (1080, 1920), gop=24)
    path = remux(path, tmp_path / "long.mp4", times=75)
    assert open_video(path).size == (3600, 1080, 1920)
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(path)], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr[-2000:]
