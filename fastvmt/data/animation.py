"""WebP pictures and animations, which FFmpeg does not decode: Pillow does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fastvmt.data.clip import Clip, Picture


def is_webp(path: Path) -> bool:
    """Whether a file begins as WebP files do."""
    with path.open("rb") as stream:
        head = stream.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def open_webp(path: Path) -> Clip:
    """The frames of an animation, without transparency; a single picture is a clip of one frame at one a second.

    Opening decodes every frame once, since each states how long it is shown. Raises ``ValueError`` for a damaged file.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            shown = []
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                image.load()
                shown.append(image.info.get("duration", 1000) / 1000)
    except (UnidentifiedImageError, OSError, EOFError, SyntaxError) as error:
        raise ValueError(f"video file {str(path)!r} cannot be decoded: damaged ({error})") from None
    if not min(shown) > 0:
        raise ValueError(f"video file {str(path)!r} states no time for frame {shown.index(min(shown))}")
    times = tuple(accumulate(shown[:-1], initial=0.0))
    fps = (len(times) - 1) / times[-1] if len(times) > 1 else 1 / shown[0]

    def pictures(index: Sequence[int]) -> Iterator[Picture]:
        with Image.open(path) as image:
            for number in index:
                image.seek(number)
                yield np.array(image.convert("RGB"))

    return Clip(path.stem, times, fps, height, width, pictures)
