"""Bring a generated clip and its reference to the same rate, frames and size before they are compared."""

from __future__ import annotations

from enum import Enum

from fastvmt.data.clip import same_rate
from fastvmt.data.resample import cover
from fastvmt.settings import check_scored_frames
from fastvmt.types import Video


class Alignment(str, Enum):
    """What to do when two clips differ in length."""

    truncate = "truncate"
    """Keep the first frames of the longer one."""
    linspace = "linspace"
    """Take evenly spread frames of the longer one."""
    strict = "strict"
    """Refuse; sizes and rates must then agree as well."""


def spread(count: int, frames: int) -> list[int]:
    """``frames`` indices from 0 to ``count`` - 1, evenly spread, both ends included."""
    return [0] if frames == 1 else [(2 * i * (count - 1) + frames - 1) // (2 * (frames - 1)) for i in range(frames)]


def picked(video: Video, index: list[int], fps: float) -> Video:
    """Some frames of a video."""
    return Video(video.frames_THWC[index], fps, video.name)


def slowed(video: Video, fps: float) -> Video:
    """A video at a lower frame rate: frame i is the native frame nearest in time."""
    step = video.fps / fps
    index: list[int] = []
    while (nearest := int(len(index) * step + 0.5)) < video.size[0]:
        index.append(nearest)
    return picked(video, index, fps)


def align(
    generated: Video,
    reference: Video,
    policy: Alignment | str = Alignment.truncate,
    *,
    match_rate: bool = True,
) -> tuple[Video, Video, list[str]]:
    """Both clips at one rate, length and size, and a line for everything that was changed.

    The faster one is sampled at the slower one's rate (unless ``match_rate`` is false: then frame i
    is compared with frame i). The reference is scaled to cover the generated size and cropped to its
    centre.

    Raises ``ValueError`` for clips of a single frame, and with ``policy=strict`` for any difference.
    """
    policy = Alignment(policy)
    notes: list[str] = []
    for what, video in (("generated", generated), ("reference", reference)):
        if video.size[0] < 2:
            raise ValueError(f"the {what} clip {video.name!r} has {video.size[0]} frame: scores need at least 2")
    if match_rate and not same_rate(generated.fps, reference.fps):
        notes.append(f"rates {generated.fps:g} (generated) and {reference.fps:g} fps: the faster was thinned out")
        rate = min(generated.fps, reference.fps)
        generated, reference = (v if v.fps == rate else slowed(v, rate) for v in (generated, reference))
    lengths = generated.size[0], reference.size[0]
    if lengths[0] != lengths[1]:
        notes.append(f"{lengths[0]} generated and {lengths[1]} reference frames: {policy.value} to {min(lengths)}")
        generated, reference = (_shortened(v, min(lengths), policy) for v in (generated, reference))
    if generated.size[1:] != reference.size[1:]:
        (height, width), native = generated.size[1:], reference.size[1:]
        notes.append(f"reference of {native[1]}x{native[0]} scaled and cropped to {width}x{height}")
        reference = Video(cover(reference.frames_THWC, height, width), reference.fps, reference.name)
    if policy is Alignment.strict and notes:
        raise ValueError(f"{generated.name!r} and its reference differ ({'; '.join(notes)}): align=strict refuses that")
    if generated.size[0] < 2:
        raise ValueError(f"{generated.name!r} and its reference share a single frame: scores need at least 2")
    return generated, reference, notes


def evenly(video: Video, frames: int) -> Video:
    """``frames`` evenly spread frames; ``ValueError``, of ``metrics.frames``, unless the video has as many."""
    count = video.size[0]
    check_scored_frames(frames, count, video.name or "the video")
    return picked(video, spread(count, frames), video.fps * frames / count)


def _shortened(video: Video, frames: int, policy: Alignment) -> Video:
    if policy is Alignment.linspace:
        return evenly(video, frames)
    return picked(video, list(range(frames)), video.fps)
