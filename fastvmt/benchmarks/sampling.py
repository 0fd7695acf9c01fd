"""The frames that a case takes of a manifest's clip, and its mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fastvmt.benchmarks.reference import Reference
from fastvmt.data.clip import Clip, Picture
from fastvmt.data.frame_folder import open_folder, read_picture
from fastvmt.data.resample import nearest_frames, prepare
from fastvmt.types import ClipShape, Video


def sampled_rate(reference: Reference, clip: Clip, target_fps: float | None) -> float:
    """Frames per second at which a clip is sampled: one frame in ``stride`` of ``target_fps``, or of its own rate."""
    return (target_fps or clip.fps) / reference.stride


def stated_range(reference: Reference, clip: Clip, shape: ClipShape, rate: float) -> Clip:
    """A clip up to the last frame that its line asks for; one that must be complete and is not is refused.

    Frame i is the one shown nearest to i / ``rate`` seconds after ``start``. With ``frame_policy=error`` ``frames.num``
    must be the backbone's count and the clip must hold it; ``round_down`` cuts a longer range to the backbone's count,
    ``pad_last`` repeats the last frame of a shorter one.

    Raises ``ValueError`` for a clip that does not fit.
    """
    wanted = shape.frames
    num = reference.num or wanted
    policy = reference.frame_policy
    if policy == "error" and not shape.takes(num):
        raise ValueError(f"frames.num={num} must be {shape.step} k + 1, or set frame_policy to round_down or pad_last")
    if num > wanted and policy != "round_down":
        raise ValueError(f"frames.num={num} is more than backbone.frames={wanted}: set frame_policy=round_down")
    if num < wanted and policy != "pad_last":
        raise ValueError(f"frames.num={num} is fewer than backbone.frames={wanted}: set frame_policy=pad_last")
    count = len(clip.times)
    index = nearest_frames(clip, num, rate, reference.start) if reference.start < count else []
    if policy == "error" and len(index) < num:
        last = reference.start + int((num - 1) * clip.fps / rate + 0.5)
        raise ValueError(f"decodes to {count} frames, but frames needs frame {last}: the clip is too short")
    return replace(clip, name=reference.id, times=clip.times[: index[-1] + 1] if len(index) == num else clip.times)


def sampled(reference: Reference, clip: Clip, shape: ClipShape, rate: float, mask: bool = False) -> tuple[Video, str]:
    """The frames of a clip in its stated range that the backbone takes, and a line for the log.

    Raises ``ValueError`` for a clip that is too short.
    """
    video, line = prepare(clip, shape, fps=rate, start=reference.start, policy=reference.frame_policy, mask=mask)
    if video.size[0] != shape.frames:
        few = f"enough for {video.size[0]}, fewer than backbone.frames={shape.frames}"
        raise ValueError(f"decodes to {len(clip.times)} frames: {few}")
    return video, line


def open_mask(path: Path, clip: Clip, first: int) -> Clip:
    """A mask as a clip of the native frames, black where background is; a picture alone is that of frame ``first``.

    Raises ``ValueError`` unless it has the clip's size and, as a folder, its number of frames.
    """
    if path.is_dir():
        mask = open_folder(path, clip.fps)
    else:
        picture = read_picture(path)
        empty = np.zeros_like(picture)

        def pictures(index: Sequence[int]) -> Iterator[Picture]:
            return (picture if number == first else empty for number in index)

        mask = replace(clip, height=picture.shape[0], width=picture.shape[1], pictures=pictures)
    if mask.size != clip.size:
        raise ValueError(f"mask {path.name!r} has (frames, height, width) {mask.size}, its clip {clip.size}")
    return replace(mask, times=clip.times)
