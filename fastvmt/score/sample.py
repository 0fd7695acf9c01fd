"""What is scored: a video and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from fastvmt.data.alignment import evenly, picked, spread
from fastvmt.types import Truth, Video

BLANK = 2
"""Grey levels: a frame whose pixels differ by no more in any channel is of one colour, encoder noise aside."""


@dataclass(frozen=True)
class Sample:
    """A video to score and what is known about it."""

    video: Video
    reference: Video | None = None
    """The clip whose motion it should follow, as the generator saw it, of the same frame size; the longer of the
    two is cut. None: no motion fidelity."""
    prompt: str = ""
    truth: Truth | None = None
    """The reference's true motion, for generated worlds, and with it the world's ``category``; None: no trajectory."""
    category: str = ""
    foreground_THW: Tensor | None = None
    """Where the reference's moving subject is, bool; None: no fidelity to it."""


LACKING = {
    "reference": "no reference",
    "prompt": "no prompt",
    "truth": "the true motion is not known",
    "mask": "no mask of the subject",
}
"""What a sample may lack, in words, by ``registry.INPUTS``."""


def lacks(sample: Sample, need: str) -> bool:
    """Whether a sample does not have one of ``LACKING``."""
    if need == "prompt":
        return not sample.prompt.strip()
    return {"reference": sample.reference, "truth": sample.truth, "mask": sample.foreground_THW}[need] is None


def blank(video: Video) -> bool:
    """Whether every frame is of one colour: black, say. Such a video has no scores.

    Example:
        >>> blank(Video(torch.full((2, 4, 4, 3), 90, dtype=torch.uint8), fps=8))
        True
    """
    frames = video.frames_THWC
    spread_TC = frames.amax((1, 2)).int() - frames.amin((1, 2)).int()
    return bool((spread_TC <= BLANK).all())


def thinned(sample: Sample, frames: int) -> Sample:
    """A sample at ``frames`` evenly spread ones of the frames that video and reference share, if they are as many."""
    clips = [clip for clip in (sample.video, sample.reference) if clip is not None]
    count = min(clip.size[0] for clip in clips)
    video, *rest = (evenly(picked(clip, list(range(count)), clip.fps), frames) for clip in clips)
    index = spread(count, frames)
    truth = sample.truth
    if truth is not None:
        truth = replace(
            truth,
            centres_KT2=truth.centres_KT2[:, index],
            tracks_NT2=truth.tracks_NT2[:, index],
            visible_NT=truth.visible_NT[:, index],
        )
    mask = None if sample.foreground_THW is None else sample.foreground_THW[index]
    return replace(sample, video=video, reference=rest[0] if rest else None, truth=truth, foreground_THW=mask)
