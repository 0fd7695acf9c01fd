"""Clips kept as one picture per frame, as DAVIS ships them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from fastvmt.data.clip import Clip, Picture
from fastvmt.data.video_stream import open_video
from fastvmt.types import Video

PICTURES = (".jpg", ".jpeg", ".png")


def frame_files(folder: Path) -> list[Path]:
    """The pictures directly in a folder, in the order of the numbers in their names; hidden files are none."""

    def key(path: Path) -> tuple[list[tuple[int, str]], str]:
        parts = re.split(r"([0-9]+)", path.stem)
        return [(int(part), "") if part.isdigit() else (-1, part) for part in parts], path.name

    return sorted((path for path in visible(folder) if path.suffix.lower() in PICTURES), key=key)


def visible(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without the hidden files (``._*``, ``.DS_Store``) that systems leave in it."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def is_frame_folder(path: Path) -> bool:
    """Whether a path is a folder with pictures directly in it."""
    return path.is_dir() and bool(frame_files(path))


def check_numbering(files: list[Path]) -> None:
    """Raise ``ValueError`` that names the first file of another kind, or the first gap in the frames' numbers.

    Numbers are the last ones in the names that are not the same in all; they may begin anywhere and go up by any
    constant step. Names without numbers are in alphabetic order and cannot show gaps.
    """
    for file in files:
        if file.suffix.lower() != files[0].suffix.lower():
            raise ValueError(
                f"frames {files[0].name!r} and {file.name!r} are of several kinds: keep those of one suffix"
            )
    found = [re.findall(r"[0-9]+", file.stem) for file in files]
    if not any(found):
        return
    if not all(found):
        raise ValueError(
            f"frame {files[[bool(each) for each in found].index(False)].name!r} has no number, others have"
        )
    varying = [column for column in zip(*found, strict=False) if len(set(column)) > 1]
    digits = list(varying[-1]) if varying else [each[-1] for each in found]
    numbers = [int(number) for number in digits]
    steps = [after - before for before, after in pairwise(numbers)]
    for i, step in enumerate(steps):
        if step != min(steps) or step < 1:
            due = str(numbers[i] + min(steps)).zfill(len(digits[i]))
            wrong = f"frame {due} is missing" if step > min(steps) > 0 else "the number does not go up"
            raise ValueError(f"{wrong} between the frames {files[i].name!r} and {files[i + 1].name!r}")


def open_folder(folder: Path, fps: float) -> Clip:
    """A folder of pictures as a clip; a folder states no frame rate, so it must be given.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no pictures in it, a gap in their numbers, pictures of several kinds or sizes, one that cannot be
            decoded, or a frame rate that is not above 0.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"frame folder {str(folder)!r} does not exist")
    if not 0 < fps < math.inf:
        raise ValueError(f"frame folder {str(folder)!r} needs a frame rate above 0, got fps={fps}")
    files = frame_files(folder)
    if not files:
        raise ValueError(f"frame folder {str(folder)!r} has no {', '.join(PICTURES)} files directly in it")
    if odd := [file.name for file in files if not file.is_file()]:
        raise ValueError(f"frame folder {str(folder)!r}: {odd[0]!r} is no file, or a link that leads nowhere")
    try:
        check_numbering(files)
    except ValueError as error:
        raise ValueError(f"frame folder {str(folder)!r}: {error}") from None
    height, width = size = read_picture(files[0]).shape[:2]

    def pictures(index: Sequence[int]) -> Iterator[Picture]:
        for file in (files[number] for number in index):
            picture = read_picture(file)
            if picture.shape[:2] != size:
                raise ValueError(
                    f"frame {str(file)!r} has (height, width) {picture.shape[:2]}, the first frame has {size}: "
                    "frames of a clip are of one size"
                )
            yield picture

    times = tuple(i / fps for i in range(len(files)))
    return Clip(folder.name, times, fps, height, width, pictures)


def read_picture(file: Path) -> Picture:
    """RGB (H, W, 3) of a picture; raises ``ValueError`` if it cannot be decoded."""
    data = np.frombuffer(file.read_bytes(), np.uint8)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the error below says it
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if picture is None:
        raise ValueError(f"frame {str(file)!r} cannot be decoded: not a picture, or damaged")
    return np.asarray(picture, np.uint8)


def open_clip(path: Path, fps: float | None = None) -> Clip:
    """A video file, or a folder of pictures with its ``fps`` (ignored for files, which state theirs).

    Raises as :func:`fastvmt.data.video_stream.open_video` and :func:`open_folder`.
    """
    if not path.is_dir():
        return open_video(path)
    if fps is None:
        raise ValueError(f"frame folder {str(path)!r} states no frame rate: give its fps")
    return open_folder(path, fps)


def read_clip(path: Path, fps: float | None = None) -> Video:
    """Every frame of what :func:`open_clip` opens."""
    return open_clip(path, fps).read()


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
