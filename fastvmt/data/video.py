"""Reading and writing video files: the only place that touches decoders and encoders.

Files are read for pixels, never trusted for what their headers promise, and written so that any
browser plays them, with the same bytes for the same input.
"""

from __future__ import annotations

import importlib.util
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from fastvmt.types import Video

CRF = "16"
"""H.264 constant rate factor: visually near lossless."""
ENLARGED = "fastvmt_enlarged"
"""The container's tag that tells how many times :func:`write_video` enlarged a clip."""


def read_video(path: Path) -> Video:
    """Decode a whole file to RGB frames, with the container's frame rate and the file's stem as name.

    decord decodes when it is installed (it is faster), PyAV otherwise; both give the same frames.
    A rotation stored in the file, as phones write it, is applied.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is empty, not a video, cut short, or states no frame rate. (Damaged pixels
            inside an intact stream are concealed by the decoder and cannot be told from content.)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"video file {str(path)!r} does not exist or is not a file: set its path to a video")
    if path.stat().st_size == 0:
        raise ValueError(f"video file {str(path)!r} is empty (0 bytes)")
    try:
        fps, rotation = _probe(path)
        frames = _decode_decord(path) if importlib.util.find_spec("decord") else _decode_pyav(path)
    except (av.FFmpegError, RuntimeError, OSError, StopIteration, IndexError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"video file {str(path)!r} cannot be decoded: not a video, or damaged ({reason})") from None
    if not fps > 0:
        raise ValueError(f"video file {str(path)!r} states no frame rate: re-encode it with one, e.g. ffmpeg -r 24")
    turned = np.ascontiguousarray(np.rot90(frames, round(rotation / 90), axes=(1, 2)))
    return Video(torch.from_numpy(turned), fps, path.stem)


def _probe(path: Path) -> tuple[float, float]:
    """Frame rate (Hz, 0 when unknown) and rotation (degrees, counter-clockwise) of the first video stream.

    Decoding one frame here rejects most bad files with PyAV's quiet errors, before decord is asked.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        return float(stream.average_rate or 0), float(frame.rotation)


def _decode_pyav(path: Path) -> NDArray[np.uint8]:
    container: InputContainer
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames)


def _decode_decord(path: Path) -> NDArray[np.uint8]:
    import decord  # optional: no wheel exists for some platforms

    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        return np.asarray(reader.get_batch(range(len(reader))).asnumpy(), np.uint8)
    except decord.DECORDError as error:  # its text is a C++ location and stack trace
        if "from_size" in str(error):  # intact, but of a width whose rows decord pads and then cannot copy
            return _decode_pyav(path)
        raise RuntimeError("decoding stopped before the end of the file") from error


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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        options = {"movflags": "+faststart+use_metadata_tags"}
        container: OutputContainer
        with av.open(str(partial), "w", format="mp4", options=options) as container:
            container.metadata.update((metadata or {}) | ({ENLARGED: str(scale)} if scale > 1 else {}))
            _encode(container, _enlarged(video.frames_THWC.cpu().numpy(), scale, lossless), video.fps, lossless)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
    if not Path(path).is_file():
        raise FileNotFoundError(f"video file {str(path)!r} does not exist")
    try:
        with av.open(str(path)) as container:
            return dict(container.metadata)
    except av.FFmpegError as error:
        raise ValueError(f"{str(path)!r} is not a readable video ({error})") from None
