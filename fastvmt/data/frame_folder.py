"""Clips kept as one picture per frame, as DAVIS ships them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fastvmt.data.video import read_video
from fastvmt.types import Video

PICTURES = (".jpg", ".jpeg", ".png")


def frame_files(folder: Path) -> list[Path]:
    """The pictures directly in a folder, in the order of the numbers in their names."""

    def key(path: Path) -> tuple[list[tuple[int, str]], str]:
        parts = re.split(r"(\d+)", path.stem)
        return [(int(part), "") if part.isdigit() else (-1, part) for part in parts], path.name

    return sorted((path for path in folder.iterdir() if path.suffix.lower() in PICTURES), key=key)


def is_frame_folder(path: Path) -> bool:
    """Whether a path is a folder with pictures directly in it."""
    return path.is_dir() and bool(frame_files(path))


def read_frames(folder: Path, fps: float) -> Video:
    """Read a folder of pictures as a clip; a folder states no frame rate, so it must be given.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no pictures in it, pictures of several sizes, one that cannot be decoded, or fps <= 0.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"frame folder {str(folder)!r} does not exist")
    if not fps > 0:
        raise ValueError(f"frame folder {str(folder)!r} needs a frame rate above 0, got fps={fps}")
    files = frame_files(folder)
    if not files:
        raise ValueError(f"frame folder {str(folder)!r} has no {', '.join(PICTURES)} files directly in it")
    frames: list[NDArray[np.uint8]] = []
    for file in files:
        picture = read_picture(file)
        if frames and picture.shape != frames[0].shape:
            raise ValueError(
                f"frame {str(file)!r} has (height, width) {picture.shape[:2]}, the first frame has "
                f"{frames[0].shape[:2]}: frames of a clip are of one size"
            )
        frames.append(picture)
    return Video(torch.from_numpy(np.stack(frames)), fps, folder.name)


def read_picture(file: Path) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of a picture; raises ``ValueError`` if it cannot be decoded."""
    data = np.frombuffer(file.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
    if picture is None:
        raise ValueError(f"frame {str(file)!r} cannot be decoded: not a picture, or damaged")
    return np.asarray(picture, np.uint8)


def read_clip(path: Path, fps: float | None = None) -> Video:
    """A video file, or a folder of pictures with its ``fps`` (ignored for files, which state theirs).

    Raises as :func:`fastvmt.data.video.read_video` and :func:`read_frames`.
    """
    if not path.is_dir():
        return read_video(path)
    if fps is None:
        raise ValueError(f"frame folder {str(path)!r} states no frame rate: give its fps")
    return read_frames(path, fps)


def clip_sha256(path: Path) -> str:
    """Of a file, its bytes; of a folder of pictures, the names and bytes of its frames in order."""
    digest = hashlib.sha256()
    for file in frame_files(path) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            while part := stream.read(1 << 22):
                digest.update(part)
    return digest.hexdigest()
