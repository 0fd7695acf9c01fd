"""Small pictures of a video file for a first look: decord scales while it decodes.

600 frames of 1080p take 1.1 s of CPU time, in their own size 1.4 s. They are never shown or transferred: decord
conceals damage that :mod:`fastvmt.data.video_stream` refuses.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 96, 54
"""Of every preview, whatever the clip's proportions."""
SAME_TIME = 1e-3
"""Seconds by which the times of two readers may differ: containers count in milliseconds."""


def previews(path: Path, times: Sequence[float], index: Sequence[int]) -> NDArray[np.uint8] | None:
    """Frames in 96 x 54 pixels, (T, H, W, 3), 16 kB each; None unless decord sees the same frames at these times."""
    if importlib.util.find_spec("decord") is None:  # no wheel exists for some platforms
        return None
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(path.absolute()), width=WIDTH, height=HEIGHT, num_threads=1)
        if len(reader) != len(times):
            return None
        stamps = reader.get_frame_timestamp(range(len(reader)))[:, 0]
        if np.abs(stamps - stamps[0] - np.asarray(times)).max() > SAME_TIME:
            return None
        return np.asarray(reader.get_batch(list(index)).asnumpy(), np.uint8)
    except (decord.DECORDError, RuntimeError):
        return None
