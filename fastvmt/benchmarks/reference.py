"""One line of a manifest: a reference clip, its prompts and its seeds, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fastvmt.data.resample import FramePolicy
from fastvmt.world.motion import CATEGORIES

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
KINDS = ("caption", "subject", "scene", "free")
"""A prompt describes the reference, another subject, a new scene altogether, or anything."""
ORIGINS = ("davis", "real", "generated")
SPLITS = ("dev", "test", "hidden")


class ManifestError(ValueError):
    """A manifest that is written wrongly, as opposed to a clip that cannot be used."""


@dataclass(frozen=True)
class Prompt:
    """What to generate from a reference."""

    id: str
    text: str
    kind: str = "free"
    negative: str = ""


@dataclass(frozen=True)
class Reference:
    """A reference clip and its cases."""

    id: str
    video: str
    """A video file or a folder of pictures, relative to the manifest."""
    prompts: tuple[Prompt, ...]
    sha256: str
    fps: float
    """Native frames per second."""
    size: tuple[int, int]
    """Native height and width, pixels."""
    category: str
    start: int = 0
    """First native frame."""
    num: int | None = None
    """Frames of the clip at the sampled rate; None takes as many as the backbone makes."""
    stride: int = 1
    """Sampled frames are this many frames apart (native ones, or of the benchmark's target_fps)."""
    frame_policy: str = "error"
    seeds: tuple[int, ...] = (0,)
    origin: str = "real"
    split: str = "test"
    tags: tuple[str, ...] = ()
    source_prompt: str = ""
    mask: str | None = None
    """A folder of masks, one per native frame, or the picture of frame ``start``'s; background is black. Relative
    to the manifest."""
    tracks: str | None = None
    """A file of point tracks that comes with the clip; checked to be there, not read."""
    license: str = ""
    attribution: str = ""


def read_reference(row: Mapping[str, Any], where: str) -> Reference:
    """A reference from a line's keys, the header's defaults already merged in.

    Raises :class:`ManifestError` that names the line, the key, its value and what is legal.
    """
    row = dict(row)
    frames = row.pop("frames", {})
    if not isinstance(frames, dict):
        raise ManifestError(f"{where}: frames={frames} must be an object with start, num, stride")
    known = {f.name for f in fields(Reference)} - {"start", "num", "stride"}
    for key in [*(set(row) - known), *(f"frames.{key}" for key in set(frames) - {"start", "num", "stride"})]:
        raise ManifestError(f"{where}: unknown key {key}; known are frames, {', '.join(sorted(known))}")
    for key in ("id", "video", "prompts", "sha256", "fps", "size", "category"):
        if row.get(key) in (None, "", [], ()):
            raise ManifestError(f"{where}: {key} is missing")
    try:
        prompts = tuple(Prompt(**prompt) for prompt in row.pop("prompts"))
        lists = {"size": tuple(int(v) for v in row["size"]), "fps": float(row["fps"])}
        lists |= {key: tuple(row[key]) for key in ("seeds", "tags") if key in row}
        reference = Reference(**{**row, **frames, **lists, "prompts": prompts})
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{where}: {error}") from None
    check_reference(reference, where)
    return reference


def check_reference(reference: Reference, where: str) -> None:
    """Raise :class:`ManifestError` for a value that is out of range."""
    r, prompt_ids = reference, [prompt.id for prompt in reference.prompts]
    ids = [r.id, *prompt_ids]
    rules = [
        (all(isinstance(i, str) and SLUG.fullmatch(i) for i in ids), "id", ids, "of letters, digits, . _ -"),
        (len(set(prompt_ids)) == len(prompt_ids), "prompts.id", prompt_ids, "all different"),
        (all(p.text.strip() for p in r.prompts), "prompts.text", [p.text for p in r.prompts], "not empty"),
        (all(p.kind in KINDS for p in r.prompts), "prompts.kind", [p.kind for p in r.prompts], " | ".join(KINDS)),
        (r.category in CATEGORIES, "category", r.category, " | ".join(CATEGORIES)),
        (r.origin in ORIGINS, "origin", r.origin, " | ".join(ORIGINS)),
        (r.split in SPLITS, "split", r.split, " | ".join(SPLITS)),
        (r.frame_policy in list(FramePolicy), "frame_policy", r.frame_policy, " | ".join(FramePolicy)),
        (re.fullmatch(r"[0-9a-f]{64}", r.sha256) is not None, "sha256", r.sha256, "64 hexadecimal digits"),
        (r.fps > 0, "fps", r.fps, "above 0"),
        (len(r.size) == 2 and min(r.size) > 0, "size", list(r.size), "[height, width] in pixels"),
        (isinstance(r.start, int) and r.start >= 0, "frames.start", r.start, "a whole number from 0"),
        (isinstance(r.stride, int) and r.stride >= 1, "frames.stride", r.stride, "a whole number from 1"),
        (r.num is None or (isinstance(r.num, int) and r.num >= 2), "frames.num", r.num, "a whole number from 2"),
        (len(r.seeds) > 0 and len(set(r.seeds)) == len(r.seeds), "seeds", list(r.seeds), "one or more, all different"),
        (all(isinstance(s, int) and s >= 0 for s in r.seeds), "seeds", list(r.seeds), "whole numbers from 0"),
        (not Path(r.video).is_absolute(), "video", r.video, "relative to the manifest"),
    ]
    for ok, key, value, legal in rules:
        if not ok:
            raise ManifestError(f"{where}: {key}={value} must be {legal}")
