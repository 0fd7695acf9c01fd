"""A video file as a player shows it: frames at their times, turned, in their proportions, decoded in a stream.

PyAV is the only reader of frames that are used. decord gives the same pictures of plain files, to which the tests hold
this, but conceals damage that FFmpeg reports to PyAV, follows no edit list, opens no GIF or elementary stream, and is
not faster. CPU seconds for frames of one minute of 1080p60, here and with decord: the first 9 take 0.1 and 0.3, 9 over
the minute 1.3 and 1.4, 81 over the minute 3.9 and 5.3; of 49 frames of 480p all take 0.16 and 0.15.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fastvmt.data.animation import is_webp, open_webp
from fastvmt.data.clip import Clip, Picture, same_rate
from fastvmt.data.video_previews import previews

SEEKABLE = ("mov", "matroska")
"""Containers with an index of keyframes: seeking lands exactly there."""
UNTIMED = ("avi",)
"""Containers whose times are those of decoding."""
ONLY_FILES = {"protocol_whitelist": "file"}
"""Playlists that name servers are not followed."""


@dataclass(frozen=True)
class Shown:
    """How stored pictures are shown."""

    matrix: tuple[int, int, int, int]
    """Of the display: a stored (x, y) is shown at (a x + c y, b x + d y)."""
    aspect: Fraction
    """Width of a pixel over its height."""

    def picture(self, frame: VideoFrame) -> Picture:
        """RGB of a frame: square pixels first, then mirrored and turned by quarters."""
        width = max(1, round(frame.width * self.aspect))
        rgb = frame.to_ndarray(format="rgb24", width=width, height=frame.height, interpolation="BICUBIC")
        a, b, c, d = self.matrix
        turned = rgb.transpose(1, 0, 2)[::b, ::c] if a == 0 else rgb[::d, ::a]
        return np.ascontiguousarray(turned)

    @property
    def notes(self) -> list[str]:
        """What is done to pictures, in words."""
        a, b, c, d = self.matrix
        turned = {(1, 0, 0, 1): 0, (0, -1, 1, 0): 90, (-1, 0, 0, -1): 180, (0, 1, -1, 0): 270}.get(self.matrix)
        words = "mirrored or turned as it states" if turned is None else f"turned {turned} degrees counter-clockwise"
        notes = [] if (a, b, c, d) == (1, 0, 0, 1) else [words]
        return notes if self.aspect == 1 else [*notes, f"pixels of {self.aspect} shown square"]


@dataclass(frozen=True)
class Index:
    """Which frames a file shows, and when."""

    stamps: tuple[int, ...]
    """Presentation times, increasing, in the stream's unit; consecutive numbers where the file states none."""
    timed: bool = True
    """Whether the file states times."""
    ordered: bool = False
    """Whether frames are told by their order alone: their own stamps are missing or muddled."""
    keys: tuple[int, ...] = ()
    """Those of ``stamps`` at which decoding can begin, increasing; none where the container cannot seek."""
    hidden: int = 0
    """Frames that are stored, but cut away by an edit list."""

    @property
    def notes(self) -> list[str]:
        """What is not as in a plain file, in words."""
        notes = [f"{self.hidden} more are cut away by its edit list"] if self.hidden else []
        return notes if self.timed else [*notes, "it states no times: the rate is assumed"]


def open_video(path: Path) -> Clip:
    """The frames that a player shows of a video file, as it shows them, and their times.

    Edit lists are followed, rotation and mirroring are applied, pixels that are not square become square. Opening reads
    the packets and decodes one frame (all frames, keeping none, where packets do not tell the times). Memory: two
    numbers for each frame of the file, the decoder's reference pictures (at most 16, and one per thread) and the one
    picture that is handed out; :meth:`Clip.read` adds the pictures that it is asked for.

    Raises:
        FileNotFoundError: no such file, or not a regular one.
        ValueError: the file is empty, has no video stream, is not a video, is damaged or cut short, states no frame
            rate, or is shown turned by other than quarters. Damage further on is met when the frames are decoded.
    """
    path = Path(path)
    check_file(path)
    if is_webp(path):
        return open_webp(path)
    try:
        with av.open(str(path.absolute()), options=ONLY_FILES) as container:
            stream = video_stream(container)
            rates = stream.average_rate, stream.guessed_rate
            base = stream.time_base or Fraction(1)
            index = read_index(container, stream)
        with av.open(str(path.absolute()), options=ONLY_FILES) as container:
            stream = video_stream(container)
            first = next(container.decode(stream))
            shown = Shown(display_matrix(first), stream.sample_aspect_ratio or Fraction(1))
            height, width = shown.picture(first).shape[:2]
        if index is None or first.pts != index.stamps[0]:
            index = decoded_index(path)
    except (av.FFmpegError, OSError, ValueError, StopIteration, IndexError) as error:
        raise unreadable(path, error) from None
    if not index.timed:
        base = 1 / (rates[1] or rates[0] or Fraction(25))
    times = tuple(float((stamp - index.stamps[0]) * base) for stamp in index.stamps)
    fps = frame_rate(times, rates)
    if fps is None:
        raise ValueError(f"video file {str(path)!r} states no frame rate: re-encode it with one, e.g. ffmpeg -r 24")
    return Clip(
        path.stem,
        times,
        fps,
        height,
        width,
        lambda wanted: decode(path, index, shown, wanted),
        (*shown.notes, *index.notes),
        lambda wanted: previews(path, times, wanted),
    )


def check_file(path: Path) -> None:
    """Raise ``FileNotFoundError`` for what is no regular file, and ``ValueError`` for an empty one."""
    if path.is_dir():
        raise FileNotFoundError(f"video file {str(path)!r} is a folder: give a video file")
    if not path.exists():
        raise FileNotFoundError(f"video file {str(path)!r} does not exist: set its path to a video")
    if not path.is_file():
        raise FileNotFoundError(f"video file {str(path)!r} is a device, a pipe or a socket: give a regular file")
    if path.stat().st_size == 0:
        raise ValueError(f"video file {str(path)!r} is empty (0 bytes)")


def unreadable(path: Path, error: Exception) -> ValueError:
    """One line for a file that cannot be read, with the decoder's reason."""
    if isinstance(error, NoVideo):
        return ValueError(f"{str(path)!r} has no video stream: {error}")
    reason = (getattr(error, "strerror", None) or str(error).strip() or "it ends before a picture").splitlines()[0]
    return ValueError(f"video file {str(path)!r} cannot be decoded: not a video, or damaged ({reason})")


class NoVideo(ValueError):
    """A file of sound, subtitles or cover pictures only."""


def video_stream(container: InputContainer) -> VideoStream:
    """The stream that a player shows; raises :class:`NoVideo` where there is none."""
    streams = [each for each in container.streams.video if not each.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({str(each.type) for each in container.streams}))
        raise NoVideo(f"it holds {kinds or 'nothing'}")
    best = container.streams.best("video")
    return best if isinstance(best, VideoStream) and best in streams else streams[0]


def read_index(container: InputContainer, stream: VideoStream) -> Index | None:
    """What the packets say, without decoding; None if some state no time. Raises ``ValueError`` for a cut-off file."""
    packets = [packet for packet in container.demux(stream) if packet.size]
    if container.format.name.startswith("mov") and len(packets) < stream.frames:
        raise ValueError(f"it is cut short: {len(packets)} of {stream.frames} frames are there")
    shown = [packet for packet in packets if not packet.is_discard]
    stamps = {packet.pts for packet in shown if packet.pts is not None}
    if len(stamps) < len(shown) or not stamps or container.format.name in UNTIMED:
        return None
    hidden = len(packets) - len(shown)
    seeks = container.format.name.startswith(SEEKABLE) and not hidden
    keys = {packet.pts for packet in shown if packet.is_keyframe and packet.pts is not None} if seeks else set()
    return Index(tuple(sorted(stamps)), keys=tuple(sorted(keys)), hidden=hidden)


def decoded_index(path: Path) -> Index:
    """The index of a file whose packets do not tell: every frame is decoded once, and none is kept."""
    with av.open(str(path.absolute()), options=ONLY_FILES) as container:
        frames = [frame.pts for frame in container.decode(video_stream(container)) if not frame.is_corrupt]
    stamps = sorted({stamp for stamp in frames if stamp is not None})
    if len(stamps) < len(frames):
        return Index(tuple(range(len(frames))), timed=False, ordered=True)
    return Index(tuple(stamps), ordered=stamps != frames)


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """The signs of a frame's display matrix (a, b, c, d); raises ``ValueError`` unless it turns by quarters."""
    sides: Any = frame.side_data
    data = sides.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    entries = np.frombuffer(bytes(data), "<i4").reshape(3, 3)[:2, :2]
    large = np.abs(entries) > np.abs(entries).max() / 1000
    if sorted(large.flatten().tolist()) != [False, False, True, True] or large[0, 0] != large[1, 1]:
        raise ValueError("it is shown turned by other than quarters: re-encode it upright")
    a, b, c, d = (int(sign) for sign in (np.sign(entries) * large).flatten())
    return a, b, c, d


def frame_rate(times: Sequence[float], stated: Sequence[Fraction | None]) -> float | None:
    """The stated rate that agrees with the times, else their mean rate; None if there is no telling."""
    known = [float(rate) for rate in stated if rate]
    if len(times) < 2:
        return known[0] if known else None
    if not times[-1] > times[0]:
        return None
    mean = (len(times) - 1) / (times[-1] - times[0])
    return next((rate for rate in known if same_rate(rate, mean)), mean)


def decode(path: Path, index: Index, shown: Shown, wanted: Sequence[int]) -> Iterator[Picture]:
    """The pictures of increasing frame numbers, one at a time; stretches without one are skipped by keyframes.

    Raises ``ValueError`` for a picture that is damaged, built on a damaged one, or missing.
    """
    try:
        with av.open(str(path.absolute()), options=ONLY_FILES) as container:
            stream = video_stream(container)
            frames = marked(container.decode(stream), index)
            last = -1
            for number in wanted:
                stamp = index.stamps[number]
                before = bisect_right(index.keys, stamp)
                if before and index.keys[before - 1] > index.stamps[min(last + 1, number)]:
                    container.seek(index.keys[before - 1], stream=stream)
                    frames = marked(container.decode(stream), index)
                sound, frame = next((sound, frame) for place, sound, frame in frames if place == stamp)
                if not sound:
                    raise ValueError(f"frame {number} or one that it is built on is broken")
                last = number
                yield shown.picture(frame)
    except (av.FFmpegError, OSError, ValueError, StopIteration) as error:
        raise unreadable(path, error) from None


def marked(frames: Iterator[VideoFrame], index: Index) -> Iterator[tuple[int, bool, VideoFrame]]:
    """Frames with their stamps, and whether all is sound since the last keyframe; ``ValueError`` for muddled stamps."""
    sound = True
    count = 0
    last = None
    for frame in frames:
        sound = not frame.is_corrupt and (sound or frame.key_frame)
        if index.ordered:
            if count < len(index.stamps) and (count or not frame.is_corrupt):
                yield index.stamps[count], sound, frame
                count += 1
        elif frame.pts is not None:
            if last is not None and frame.pts < last:
                raise ValueError("its times run backwards: re-encode it")
            last = frame.pts
            yield last, sound, frame
