"""Small clips and pictures that trials are made of, and a reader that is independent of the package's."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]
CODECS = {
    ".mp4": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".ts": "libx264",
    ".h264": "libx264",
    ".webm": "libvpx-vp9",
    ".avi": "mpeg4",
}


def pattern(frames: int = 12, height: int = 64, width: int = 96) -> Frames:
    """Four corners of different colours and a white square that moves three pixels a frame: (T, H, W, 3)."""
    clip = np.zeros((frames, height, width, 3), np.uint8)
    half_h, half_w = height // 2, width // 2
    clip[:, :half_h, :half_w] = (200, 40, 40)
    clip[:, :half_h, half_w:] = (40, 200, 40)
    clip[:, half_h:, :half_w] = (40, 40, 200)
    clip[:, half_h:, half_w:] = (180, 180, 40)
    side = max(2, height // 4)
    for t in range(frames):
        left = (4 + 3 * t) % max(1, width - side)
        clip[t, half_h - side // 2 : half_h + side // 2, left : left + side] = 255
    return clip


def write(path: Path, frames: Frames, fps: float = 24.0, codec: str | None = None, pixels: str = "yuv420p") -> Path:
    """Encode frames; the suffix says the container and, without ``codec``, the codec."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {".ts": "mpegts", ".h264": "h264"}.get(path.suffix)
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec or CODECS[path.suffix], rate=Fraction(fps).limit_denominator(100_000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.thread_count = 1
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_animation(path: Path, frames: Frames, milliseconds: int = 80) -> Path:
    """A ``.gif``, ``.webp`` or ``.png`` animation."""
    first, *rest = [Image.fromarray(picture) for picture in frames]
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return path


def write_folder(folder: Path, frames: Frames, suffix: str = ".png") -> Path:
    """One picture per frame, numbered from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, picture in enumerate(frames):
        Image.fromarray(picture).save(folder / f"{t:04d}{suffix}")
    return folder


def read(path: Path) -> tuple[Frames, list[float]]:
    """Frames as a player shows them (turned, pixels square) and their times in seconds from the first."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown, times = [], []
        for frame in container.decode(stream):
            picture = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            size = round(picture.shape[1] * aspect), picture.shape[0]
            shown.append(np.asarray(Image.fromarray(picture).resize(size)) if aspect != 1 else picture)
            times.append(len(times) / 25 if frame.time is None else frame.time)
    return np.stack(shown), [time - times[0] for time in times]  # streams of broadcasts begin anywhere


def covered(frames: Frames, height: int, width: int) -> NDArray[np.float32]:
    """Frames scaled to cover a size and cropped to the centre."""
    ratio = max(height / frames.shape[1], width / frames.shape[2])
    size = max(width, round(frames.shape[2] * ratio)), max(height, round(frames.shape[1] * ratio))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    pictures = [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC)) for f in frames]
    return np.stack(pictures)[:, top : top + height, left : left + width].astype(np.float32)
