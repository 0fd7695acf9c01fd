"""Clips on disk, made comparable and scored: pixels as they were generated, equal length, rate and size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from fastvmt.data.alignment import align
from fastvmt.data.frame_folder import clip_sha256, read_clip
from fastvmt.data.resample import cover, shrunk
from fastvmt.data.triples import Triple
from fastvmt.data.video import ENLARGED, read_metadata
from fastvmt.score.sample import Sample
from fastvmt.score.scores import Scores
from fastvmt.types import TransferCase, Video


class FittedCases(Protocol):
    """A benchmark that knows its cases at any size."""

    def fitted(self, case_id: str, size: tuple[int, int, int]) -> TransferCase:
        """The case, its reference and mask as so many frames of this height and width."""
        ...


@dataclass(frozen=True)
class Policy:
    """How clips are made comparable, see :func:`fastvmt.data.alignment.align`."""

    align: str = "truncate"
    match_rate: bool = True
    folder_fps: float = 24.0
    """Frame rate of folders of pictures, which state none."""
    size: tuple[int, int] | None = None
    """Height and width that clips were generated in, if another system enlarged them since."""
    judge: str | None = None
    """A CLIP model that knows nothing but what ``backbone`` makes; None: the user chose one, which judges all clips."""
    backbone: str = ""


def tags(path: Path) -> dict[str, str]:
    """What a file says of itself; folders of pictures say nothing."""
    return read_metadata(path) if path.is_file() else {}


def as_generated(path: Path, policy: Policy, what: str) -> tuple[Video, list[str]]:
    """A clip in the pixels that were generated, and a line for everything that was undone."""
    video = read_clip(path, policy.folder_fps)
    factor = int(tags(path).get(ENLARGED, 1))
    undone = []
    if policy.size is not None:
        factor = max(1, min(now // then for now, then in zip(video.size[1:], policy.size, strict=True)))
    if factor > 1:
        video = shrunk(video, factor)
        undone.append(f"{what} enlarged {factor} times{'' if policy.size else ' by fastvmt'}: shrunk back")
    if policy.size is not None and video.size[1:] != policy.size:
        undone.append(f"{what} of {video.size[1:]} pixels scaled and cropped to {policy.size}")
        video = Video(cover(video.frames_THWC, *policy.size), video.fps, video.name)
    return video, undone


def sample_of(triple: Triple, policy: Policy, cases: FittedCases | None) -> tuple[Sample, list[str]]:
    """What a triple asks to be scored, and what was changed; with ``cases``, reference and mask are its case's."""
    made, changes = as_generated(triple.generated, policy, "generated")
    if cases is None:
        given, more = as_generated(triple.reference, policy, "reference")
        generated, reference, aligned = align(made, given, policy.align, match_rate=policy.match_rate)
        return Sample(generated, reference, triple.prompt), [*changes, *more, *aligned]
    case = cases.fitted(triple.id, made.size)
    mask = case.foreground_THW
    generated, reference, aligned = align(made, case.reference, policy.align, match_rate=False)
    if mask is not None:  # goes the way of its clip
        painted = Video(mask[..., None].expand(-1, -1, -1, 3).to(torch.uint8), case.reference.fps)
        mask = align(made, painted, policy.align, match_rate=False)[1].frames_THWC.any(-1)
    return Sample(generated, reference, triple.prompt, foreground_THW=mask), [*changes, *aligned]


def score_triple(scores: Scores, triple: Triple, policy: Policy, cases: FittedCases | None = None) -> dict[str, Any]:
    """Read, align and score: the record of a triple, whose ``notes`` say what was changed and what is n/a."""
    sample, said = sample_of(triple, policy, cases)
    strange = set[str]()
    if policy.judge and tags(triple.generated).get("backbone") != policy.backbone:
        strange = {name for name, metric in scores.metrics.items() if policy.judge in str(metric.source.get("id"))}
    if strange:
        instead = f"pass --clip <CLIP ViT-B/32>, or {policy.judge} for what {policy.backbone} could have made"
        said.append(f"no CLIP scores, not made by {policy.backbone}: {instead}")
    found = scores.judge(sample, without=strange)
    said += found.surprises
    frames, *size = sample.video.size
    return {
        **named(triple),
        "frames": scores.frames or frames,
        "size": size,
        "sha256": {"generated": clip_sha256(triple.generated), "reference": clip_sha256(triple.reference)},
        "fps": sample.video.fps,
        "notes": said,
        "vbench_compat": scores.vbench_compat,
        "pooled": list(scores.pooled),
        "scores": found.values,
        "missing": found.notes,
    }


def failed(triple: Triple, error: Exception) -> dict[str, Any]:
    """The record of a triple that could not be scored."""
    return {**named(triple), "notes": [f"not scored: {error}"], "scores": {}, "error": str(error)}


def named(triple: Triple) -> dict[str, Any]:
    """What a record says of a triple, scored or not."""
    paths = {"generated": str(triple.generated), "reference": str(triple.reference)}
    return {"id": triple.id, **paths, "prompt": triple.prompt}
