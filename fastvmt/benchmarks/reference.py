"""One line of a manifest: a reference clip, its prompts and its seeds, read strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fastvmt.data.resample import FramePolicy
from fastvmt.settings import LARGEST_RATE, LARGEST_SEED, LARGEST_SIDE, is_rate

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
NAME = "1 to 80 letters, digits, . _ -"
KINDS = ("caption", "subject", "scene", "free")
"""A prompt describes the reference, another subject, a new scene altogether, or anything."""
ORIGINS = ("davis", "real", "generated")
SPLITS = ("dev", "test", "hidden")
LONGEST = 10_000_000
"""The highest frame number."""
PROMPTS = 'a list of {"id": "cat", "text": "a cat on grass"}, or of plain strings'


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
    """Native height and width, as a player shows it, pixels."""
    category: str = "own"
    """Any name; results are grouped by it."""
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
    source_prompt: str = ""
    mask: str | None = None
    """A folder of masks, one per native frame, or the picture of frame ``start``'s; background is black. Relative
    to the manifest."""
    tracks: str | None = None
    """A file of point tracks that comes with the clip; checked to be there, not read."""
    license: str = ""


def read_line(line: str, where: str) -> Any:
    """Read the JSON of a manifest's line. Raises :class:`ManifestError` for anything else, and for what is no text."""
    try:
        row = json.loads(line, object_pairs_hook=once)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ManifestError(f"{where} has half of a character, such as \\ud800, which is no text") from None
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where} is not JSON: {' '.join(str(error).split())}") from None
    return row


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ``ValueError`` for a key that comes twice."""
    keys = [key for key, _ in pairs]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ValueError(f"the key {twice[0]!r} comes twice")
    return dict(pairs)


def read_reference(row: Any, where: str) -> Reference:
    """A reference from a line's keys, the header's defaults already merged in.

    Raises :class:`ManifestError` that names the line, the key, its value and what is legal.
    """
    require(isinstance(row, Mapping), where, "the line", row, 'an object, {"id": ..., "video": ..., ...}')
    row = dict(row)
    frames = row.pop("frames", {})
    require(isinstance(frames, Mapping), where, "frames", frames, "an object with start, num, stride")
    known = {f.name for f in fields(Reference)} - {"start", "num", "stride"}
    for key in [*(set(row) - known), *(f"frames.{key}" for key in set(frames) - {"start", "num", "stride"})]:
        raise ManifestError(f"{where}: unknown key {key}; known are frames, {', '.join(sorted(known))}")
    for key in ("id", "video", "prompts", "sha256", "fps", "size"):
        if row.get(key) in (None, "", [], ()):
            raise ManifestError(f"{where}: {key} is missing")
    for key, value in {**row, **{f"frames.{key}": value for key, value in frames.items()}}.items():
        if key != "prompts":
            legal, ok = RULES[key]
            require(ok(value), where, key, value, legal)
    lists = {key: tuple(row[key]) for key in ("seeds", "size") if key in row}
    return Reference(**{**row, **frames, **lists, "prompts": read_prompts(row["prompts"], where)})


def read_prompts(prompts: Any, where: str) -> tuple[Prompt, ...]:
    """Prompts, whole or as plain strings; those without an id are ``p0``, ``p1`` .. by their place.

    Raises :class:`ManifestError`.
    """
    require(isinstance(prompts, Sequence) and not isinstance(prompts, str), where, "prompts", prompts, PROMPTS)
    read: list[Prompt] = []
    for number, prompt in enumerate(prompts):
        keys = {"text": prompt} if isinstance(prompt, str) else prompt
        require(isinstance(keys, Mapping), where, "prompts", prompt, PROMPTS)
        known = [f.name for f in fields(Prompt)]
        for key, value in keys.items():
            if key not in known:
                raise ManifestError(f"{where}: unknown key prompts.{key}; known are {', '.join(known)}")
            require(isinstance(value, str), where, f"prompts.{key}", value, "text")
        made = Prompt(**{"id": f"p{number}", "text": "", **keys})
        require(SLUG.fullmatch(made.id) is not None, where, "prompts.id", made.id, NAME)
        require(made.text.strip() != "", where, "prompts.text", made.text, "not empty")
        require(made.kind in KINDS, where, "prompts.kind", made.kind, " | ".join(KINDS))
        require(made.id not in [other.id for other in read], where, "prompts.id", made.id, "unlike the others")
        read.append(made)
    return tuple(read)


def require(ok: bool, where: str, key: str, value: object, legal: str) -> None:
    """Raise :class:`ManifestError` with its place, key, value and what is legal, unless ``ok``."""
    if not ok:
        text = repr(value) if isinstance(value, str) else str(value)
        shown = text if len(text) <= 100 else f"{text[:97]}..."
        raise ManifestError(f"{where}: {key}={shown} must be {legal}")


def whole(value: object, low: int, high: int) -> bool:
    """Whether a value is a whole number in a range, both ends included."""
    return type(value) is int and low <= value <= high


def all_whole(value: object, low: int, high: int) -> bool:
    """Whether a value is a list of different whole numbers in a range, at least one."""
    return isinstance(value, list) and bool(value) and all(whole(each, low, high) for each in value)


def inside(value: object) -> bool:
    """Whether a value is a path that is relative to the manifest."""
    return isinstance(value, str) and value != "" and "\0" not in value and not Path(value).is_absolute()


def name(value: object) -> bool:
    """Whether a value may be the name of a folder."""
    return isinstance(value, str) and SLUG.fullmatch(value) is not None


def rate(value: object) -> bool:
    """Whether a value is a frame rate."""
    return isinstance(value, int | float) and not isinstance(value, bool) and is_rate(value)


RULES = {
    "id": (NAME, name),
    "video": ("a path relative to the manifest", inside),
    "mask": ("a path relative to the manifest, or null", lambda value: value is None or inside(value)),
    "tracks": ("a path relative to the manifest, or null", lambda value: value is None or inside(value)),
    "sha256": ("64 hexadecimal digits", lambda v: isinstance(v, str) and re.fullmatch(r"[0-9a-f]{64}", v) is not None),
    "fps": (f"a number above 0, at most {LARGEST_RATE}", rate),
    "size": (
        "[height, width] in pixels",
        lambda v: isinstance(v, list) and len(v) == 2 and all_whole(v, 1, LARGEST_SIDE),
    ),
    "category": (NAME, name),
    "frames.start": ("a whole number from 0", lambda value: whole(value, 0, LONGEST)),
    "frames.stride": ("a whole number from 1", lambda value: whole(value, 1, LONGEST)),
    "frames.num": ("a whole number from 2, or null", lambda value: value is None or whole(value, 2, LONGEST)),
    "frame_policy": (" | ".join(FramePolicy), lambda value: value in list(FramePolicy)),
    "seeds": (
        f"a list of different whole numbers in [0, {LARGEST_SEED}]",
        lambda value: all_whole(value, 0, LARGEST_SEED) and len(set(value)) == len(value),
    ),
    "origin": (" | ".join(ORIGINS), lambda value: value in ORIGINS),
    "split": (" | ".join(SPLITS), lambda value: value in SPLITS),
    "source_prompt": ("text", lambda value: isinstance(value, str)),
    "license": ("text", lambda value: isinstance(value, str)),
}
"""Of every key but the prompts: what is legal, in words and as a test of any value."""
