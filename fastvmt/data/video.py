"""Whole video files: read into memory, and written the same way every time, so that any browser plays them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from fastvmt.data.video_stream import check_file, open_video
from fastvmt.files import replacing
from fastvmt.types import Video

CRF = "16"
"""H.264 constant rate factor: visually near lossless."""
ENLARGED = "fastvmt_enlarged"
"""The container's tag that tells how many times :func:`write_video` enlarged a clip."""


def read_video(path: Path) -> Video:
    """Every frame that a player shows of a file, with its frame rate and the file's stem as name.

    Raises as :func:`fastvmt.data.video_stream.open_video`.
    """
    return open_video(path).read()


def write_video(
    path: Path, video: Video, metadata: dict[str, str] | None = None, scale: int = 1, lossless: bool = False
) -> None:
    """Write an H.264 mp4 (yuv420p, BT.709, fast start) that browsers play.

    Args:
        path: ends in ``.mp4``; folders are made. The file appears only when it is complete.
        video: odd sides gain one repeated row or column at the bottom or right, because yuv420p needs
            even ones; no pixel is cut.
        metadata: tags of the container, any keys; :func:`read_metadata` returns them.
        scale: every pixel becomes ``scale`` x ``scale`` pixels, for clips too small to look at; the tag
            ``ENLARGED`` says so.
        lossless: keep every RGB value (H.264 in RGB, CRF 0): larger, for tools that measure; few browsers play it.

    Raises:
        ValueError: no frames, a frame rate that is not positive, or ``scale`` below 1.
    """
    if video.size[0] == 0 or not video.fps > 0:
        raise ValueError(f"{path}: a video to write needs frames and fps > 0, got {video.size[0]} at {video.fps} fps")
    if scale < 1:
        raise ValueError(f"scale={scale} must be a whole number from 1")
    with replacing(Path(path)) as partial:
        options = {"movflags": "+faststart+use_metadata_tags"}
        container: OutputContainer
        with av.open(str(partial), "w", format="mp4", options=options) as container:
            container.metadata.update((metadata or {}) | ({ENLARGED: str(scale)} if scale > 1 else {}))
            _encode(container, _enlarged(video.frames_THWC.cpu().numpy(), scale, lossless), video.fps, lossless)


def _enlarged(frames: NDArray[np.uint8], scale: int, odd_sides: bool) -> NDArray[np.uint8]:
    frames = frames.repeat(scale, 1).repeat(scale, 2)
    odd = [(0, 0 if odd_sides else side % 2) for side in frames.shape[1:3]]
    return np.pad(frames, [(0, 0), *odd, (0, 0)], mode="edge")


def _encode(container: OutputContainer, frames: NDArray[np.uint8], fps: float, lossless: bool) -> None:
    rate = Fraction(fps).limit_denominator(100_000)
    stream = container.add_stream("libx264rgb" if lossless else "libx264", rate=rate)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "rgb24" if lossless else "yuv420p"
    stream.options = {"crf": "0" if lossless else CRF, "preset": "medium"}
    stream.codec_context.thread_count = 1  # more threads may split frames differently: other bytes
    if not lossless:
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
    for image in frames:
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        if not lossless:
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def read_metadata(path: Path) -> dict[str, str]:
    """The container's tags, among them those given to :func:`write_video`.

    Raises ``FileNotFoundError`` for a missing file and ``ValueError`` for one that is no video.
    """
    path = Path(path)
    check_file(path)
    try:
        with av.open(str(path.absolute())) as container:
            return dict(container.metadata)
    except av.FFmpegError as error:
        raise ValueError(f"{str(path)!r} is not a readable video ({error})") from None
