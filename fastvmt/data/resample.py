"""Fit a video to what a model takes: frame count, frame rate and size."""

from __future__ import annotations

import hashlib
import math
from enum import Enum

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from fastvmt.data.clip import Clip
from fastvmt.types import ClipShape, Video

Box = tuple[float, float, float, float]
CHUNK = 16
"""Frames resized at a time: bounds the memory of the float copy."""

LITTLE = 0.4
"""Seconds of a clip below which its motion may not be seen."""
VARIES = "the mean of a rate that varies"
STILL = 3
"""Levels of 255 by which pictures of one still scene may differ, from coding."""


class FramePolicy(str, Enum):
    """What to do when a clip has fewer frames than asked for."""

    error = "error"
    pad_last = "pad_last"
    """Repeat the last frame."""
    round_down = "round_down"
    """Take the largest legal number of frames that the clip has."""


def prepare(
    clip: Clip,
    shape: ClipShape,
    *,
    fps: float | None = None,
    start: int = 0,
    policy: FramePolicy | str = FramePolicy.error,
    mask: bool = False,
) -> tuple[Video, str]:
    """Resample in time, resize to cover, crop to the centre; return the frames and a line for the log.

    Frame i of the result is the one shown nearest to i / ``fps`` seconds after frame ``start`` (of two, the later, so
    that doubled frames come evenly); ``fps=None`` takes every frame. ``mask`` resizes as :func:`cover` does with masks.
    Memory: the result, and one frame of the clip at a time.

    Raises ``ValueError`` for illegal numbers and, with ``policy=error``, for a clip that is too short.
    """
    if not shape.takes(shape.frames):
        legal = shape.nearest(shape.frames)
        raise ValueError(f"frames={shape.frames} must be {shape.step} k + 1: the nearest is frames={legal}")
    if shape.height < 1 or shape.width < 1:
        raise ValueError(f"height={shape.height} and width={shape.width} must be at least 1")
    index = frame_index(clip, shape, fps, start, policy)
    native = sorted(set(index))
    fitted = torch.empty(len(native), shape.height, shape.width, 3, dtype=torch.uint8)
    for place, picture in zip(fitted, clip.pictures(native), strict=True):
        place[:] = cover(torch.from_numpy(picture)[None], shape.height, shape.width, mask)[0]
    frames_THWC = fitted[[native.index(number) for number in index]]
    video = Video(frames_THWC, clip.fps if fps is None else fps, clip.name)
    return video, described(clip, index, video)


def described(clip: Clip, index: list[int], video: Video) -> str:
    """What became of a clip, in a line: its rate, shape and treatment, the frames and times taken, and the crop."""
    count, height, width = clip.size
    _, _, (left, top, right, bottom) = covering(height, width, *video.size[1:])
    distinct = len({hashlib.sha256(frame.numpy()).digest() for frame in video.frames_THWC})
    notes = "".join(f", {note}" for note in (*([] if clip.constant else [VARIES]), *clip.notes))
    return (
        f"{clip.name or 'video'}: {count} frames of {width}x{height} at {clip.fps:g} fps{notes} -> "
        f"{len(index)} frames of {video.size[2]}x{video.size[1]} at {video.fps:g} fps "
        f"(frames {index[0]}-{index[-1]}, {clip.times[index[0]]:.3f}-{clip.times[index[-1]]:.3f} s, "
        f"{distinct} distinct pictures; crop x {left:.5g}-{right:.5g}, y {top:.5g}-{bottom:.5g})"
    )


def doubts(clip: Clip, video: Video, fps: float | None) -> list[str]:
    """Why the motion of the frames taken may not be that of the clip: warnings, each a sentence."""
    found = []
    shown = video.size[0] / video.fps
    if not clip.constant and fps is None:
        found.append(
            "its frame rate varies and every frame is taken, so motion changes its speed; fps=<rate> takes by time"
        )
    frames = video.frames_THWC.short()
    if all((frame - frames[0]).abs().max() <= STILL for frame in frames):
        found.append("all frames taken are the same picture: there is no motion to transfer")
    elif shown < LITTLE:
        found.append(f"only {shown:.2f} s of it are used and may show little motion; fps=8 takes more")
    return found


def frame_index(clip: Clip, shape: ClipShape, fps: float | None, start: int, policy: FramePolicy | str) -> list[int]:
    """Which frames of a clip are taken; see :func:`prepare`."""
    policy = FramePolicy(policy)
    frames = shape.frames
    count = len(clip.times)
    if not 0 <= start < count:
        raise ValueError(f"start={start} must be in [0, {count - 1}]: {clip.name or 'the video'} has {count} frames")
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps={fps} must be above 0, or null to keep the native {clip.fps:g}")
    index = nearest_frames(clip, frames, fps, start)
    if len(index) == frames:
        return index
    rounded = shape.cut(len(index))
    if policy is FramePolicy.pad_last:
        return index + [count - 1] * (frames - len(index))
    if policy is FramePolicy.round_down and rounded > 1:
        return index[:rounded]
    shorter = f"backbone.frames={rounded} or " if rounded > 1 else ""
    raise ValueError(
        f"{clip.name or 'the video'} gives only {len(index)} frames from start={start} at "
        f"{'its native rate' if fps is None else f'{fps:g} fps'}, fewer than backbone.frames={frames}; "
        f"set {shorter}frame_policy=pad_last"
    )


def nearest_frames(clip: Clip, frames: int, fps: float | None, start: int) -> list[int]:
    """The frames nearest to 0, 1, .. ``frames`` - 1 times 1 / ``fps`` after ``start``, as far as the clip goes."""
    count = len(clip.times)
    if fps is None:
        return list(range(start, min(start + frames, count)))
    wanted = (clip.nearest(start, i, fps) for i in range(frames))
    return [number for number in wanted if number < count]


def covering(native_h: int, native_w: int, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int], Box]:
    """The size that covers ``height`` x ``width``, the corner (top, left) to crop it from, and that crop.

    The crop is (left, top, right, bottom) in native pixels.
    """
    ratio = max(height / native_h, width / native_w)
    size = max(height, round(native_h * ratio)), max(width, round(native_w * ratio))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    y, x = native_h / size[0], native_w / size[1]
    return size, (top, left), (left * x, top * y, (left + width) * x, (top + height) * y)


def cover(frames_THWC: Tensor, height: int, width: int, mask: bool = False) -> Tensor:
    """Scale (antialiased bicubic, masks to the nearest pixel) to cover ``height`` x ``width``, then crop the centre."""
    native_h, native_w = frames_THWC.shape[1:3]
    size, (top, left), _ = covering(native_h, native_w, height, width)
    chunks = []
    for chunk in frames_THWC.split(CHUNK):
        if size != (native_h, native_w):
            how = "nearest-exact" if mask else "bicubic"
            scaled = interpolate(chunk.permute(0, 3, 1, 2).float(), size, mode=how, antialias=not mask)
            chunk = scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        chunks.append(chunk[:, top : top + height, left : left + width])
    return torch.cat(chunks).contiguous()


def shrunk(video: Video, factor: int) -> Video:
    """Means of ``factor`` x ``factor`` pixels, rounded; what is left over, as encoders add to odd sides, is dropped."""
    chunks = [
        avg_pool2d(chunk.permute(0, 3, 1, 2).float(), factor).round().to(torch.uint8).permute(0, 2, 3, 1)
        for chunk in video.frames_THWC.split(CHUNK)
    ]
    return Video(torch.cat(chunks).contiguous(), video.fps, video.name)
