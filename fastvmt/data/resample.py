"""Fit a video to what a model takes: frame count, frame rate and size."""

from __future__ import annotations

import math
from enum import Enum

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from fastvmt.types import Video

CHUNK = 16
"""Frames resized at a time: bounds the memory of the float copy."""


class FramePolicy(str, Enum):
    """What to do when a clip has fewer frames than asked for."""

    error = "error"
    pad_last = "pad_last"
    """Repeat the last frame."""
    round_down = "round_down"
    """Take the largest legal number of frames that the clip has."""


def prepare(
    video: Video,
    *,
    frames: int,
    height: int,
    width: int,
    fps: float | None = None,
    start: int = 0,
    policy: FramePolicy | str = FramePolicy.error,
    temporal_factor: int = 4,
    mask: bool = False,
) -> tuple[Video, str]:
    """Resample in time, resize to cover, crop to the centre; return the clip and a line for the log.

    Frame i of the result is frame ``start + round(i * native_fps / fps)`` of the video (halves round
    up, so that doubled frames come evenly); ``fps=None`` keeps the native spacing. ``frames`` must be
    ``temporal_factor * k + 1``, the counts that a causal video autoencoder keeps. ``mask`` resizes as
    :func:`cover` does with masks.

    Raises ``ValueError`` for illegal numbers and, with ``policy=error``, for a clip that is too short.
    """
    if frames < 1 or (frames - 1) % temporal_factor:
        legal = max(1, round((frames - 1) / temporal_factor)) * temporal_factor + 1
        raise ValueError(f"frames={frames} must be {temporal_factor} k + 1: the nearest is frames={legal}")
    if height < 1 or width < 1:
        raise ValueError(f"height={height} and width={width} must be at least 1")
    index = frame_index(video, frames, fps, start, FramePolicy(policy), temporal_factor)
    resized, crop = cover(video.frames_THWC[index], height, width, mask)
    rate = video.fps if fps is None else fps
    native_t, native_h, native_w = video.size
    unique = len(set(index))
    line = (
        f"{video.name or 'video'}: {native_t} frames of {native_w}x{native_h} at {video.fps:g} fps -> "
        f"{len(index)} frames of {width}x{height} at {rate:g} fps "
        f"(frames {index[0]}-{index[-1]}, {unique} distinct; crop x {crop[0]:g}-{crop[2]:g}, y {crop[1]:g}-{crop[3]:g})"
    )
    return Video(resized, rate, video.name), line


def frame_index(
    video: Video, frames: int, fps: float | None, start: int, policy: FramePolicy, temporal_factor: int
) -> list[int]:
    """Which native frames a clip of ``frames`` frames takes; see :func:`prepare`."""
    count = video.size[0]
    if not 0 <= start < count:
        raise ValueError(f"start={start} must be in [0, {count - 1}]: {video.name or 'the video'} has {count} frames")
    if fps is not None and not fps > 0:
        raise ValueError(f"fps={fps} must be above 0, or null to keep the native {video.fps:g}")
    step = 1.0 if fps is None else video.fps / fps
    wanted = [start + math.floor(i * step + 0.5) for i in range(frames)]
    index = [i for i in wanted if i < count]
    if len(index) == frames:
        return index
    rounded = (len(index) - 1) // temporal_factor * temporal_factor + 1
    if policy is FramePolicy.pad_last:
        return index + [count - 1] * (frames - len(index))
    if policy is FramePolicy.round_down and rounded > 1:
        return index[:rounded]
    shorter = f"backbone.frames={rounded} or " if rounded > 1 else ""
    raise ValueError(
        f"{video.name or 'the video'} gives only {len(index)} frames from start={start} at "
        f"{'its native rate' if fps is None else f'{fps:g} fps'}, fewer than backbone.frames={frames}; "
        f"set {shorter}frame_policy=pad_last"
    )


def cover(
    frames_THWC: Tensor, height: int, width: int, mask: bool = False
) -> tuple[Tensor, tuple[float, float, float, float]]:
    """Scale (antialiased bicubic, masks to the nearest pixel) to cover ``height`` x ``width``, then crop the centre.

    Returns uint8 frames and the crop box (left, top, right, bottom) in native pixels.
    """
    native_h, native_w = frames_THWC.shape[1:3]
    ratio = max(height / native_h, width / native_w)
    size = max(height, round(native_h * ratio)), max(width, round(native_w * ratio))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    chunks = []
    for first in range(0, len(frames_THWC), CHUNK):
        chunk = frames_THWC[first : first + CHUNK]
        if size != (native_h, native_w):
            how = "nearest-exact" if mask else "bicubic"
            scaled = interpolate(chunk.permute(0, 3, 1, 2).float(), size, mode=how, antialias=not mask)
            chunk = scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        chunks.append(chunk[:, top : top + height, left : left + width])
    y, x = native_h / size[0], native_w / size[1]
    box = round(left * x, 1), round(top * y, 1), round((left + width) * x, 1), round((top + height) * y, 1)
    return torch.cat(chunks).contiguous(), box


def shrunk(video: Video, factor: int) -> Video:
    """Means of ``factor`` x ``factor`` pixels, rounded; what is left over, as encoders add to odd sides, is dropped."""
    chunks = [
        avg_pool2d(chunk.permute(0, 3, 1, 2).float(), factor).round().to(torch.uint8).permute(0, 2, 3, 1)
        for chunk in video.frames_THWC.split(CHUNK)
    ]
    return Video(torch.cat(chunks).contiguous(), video.fps, video.name)
