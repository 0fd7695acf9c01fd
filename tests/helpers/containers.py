"""Video files made for tests: any container, groups of pictures, damage, packets copied without encoding."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

ODD = Path(__file__).resolve().parents[1] / "data" / "odd"
"""A test pattern encoded in ways that are easily misread."""


def encode(path: Path, count: int, size: tuple[int, int] = (48, 64), *, codec: str = "libx264", gop: int = 8) -> Path:
    """A file of ``count`` frames at 24 a second, keyframes every ``gop``; :func:`number` tells which a picture is."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.height, stream.width = size
        stream.pix_fmt, stream.gop_size = "yuv420p", gop
        if codec == "libx264":
            stream.options = {"crf": "10", "bf": "2", "sc_threshold": "0"}
        for t in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(t, size), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbered(t: int, size: tuple[int, int]) -> np.ndarray:
    """Four quarters, each black or white: the digits of ``t`` in base 16, over a grey that says how often 16 went."""
    height, width = size
    picture = np.full((height, width, 3), 60 + t // 16 % 8 * 20, np.uint8)
    for bit in range(4):
        top, left = (bit // 2) * height // 2, (bit % 2) * width // 2
        picture[top : top + height // 4, left : left + width // 4] = 255 if t >> bit & 1 else 0
    return picture


def number(picture: np.ndarray) -> int:
    """Which frame of :func:`encode` a picture is, below 128."""
    height, width = picture.shape[:2]
    bits = [
        picture[bit // 2 * height // 2 + height // 8, bit % 2 * width // 2 + width // 8, 1] > 127 for bit in range(4)
    ]
    grey = int(picture[3 * height // 8, 3 * width // 8, 1])
    return 16 * round((grey - 60) / 20) + sum(bool(bit) << place for place, bit in enumerate(bits))


def remux(source: Path, target: Path, *, skip: int = 0, times: int = 1) -> Path:
    """The same packets in another container, without the first ``skip``, ``times`` over."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        out = new.add_stream_from_template(stream)
        packets = [packet for packet in old.demux(stream) if packet.size]
        length = int(len(packets) * Fraction(1, 24) / stream.time_base)
        kept = [(packet, packet.pts, packet.dts, bytes(packet)) for packet in packets][skip:]
        for repeat in range(times):
            for packet, pts, dts, data in kept:
                again = av.Packet(data)
                again.pts, again.dts = pts + repeat * length, dts + repeat * length
                again.time_base, again.duration = stream.time_base, packet.duration
                again.is_keyframe, again.stream = packet.is_keyframe, out
                new.mux(again)
    return target


def with_matrix(source: Path, target: Path, a: int, b: int, c: int, d: int) -> Path:
    """A QuickTime file with another display matrix, in units of 1 / 65536."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 44
    for place, value in ((0, a), (4, b), (12, c), (16, d)):
        data[at + place : at + place + 4] = value.to_bytes(4, "big", signed=True)
    target.write_bytes(data)
    return target
