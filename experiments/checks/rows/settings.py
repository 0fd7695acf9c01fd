"""Every key of the settings, with values that no one means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from experiments.checks.clips import pattern, write
from experiments.checks.fork import ROOT, run_command, scratch
from experiments.checks.rows.manifests import write_manifest
from experiments.checks.rows.small import DRY
from experiments.checks.trial import HERE, Expect, Trial, nothing

LONG = "x" * 300
BACKWARDS = "a\u202eb"
VALUES = {
    "inf": "inf",
    "minus_inf": "-inf",
    "nan": "nan",
    "minus_one": "-1",
    "zero": "0",
    "half": "-0.5",
    "one_and_a_half": "1.5",
    "1e300": "1e300",
    "1e12": "1e12",
    "huge": "99999999999999999999",
    "null": "null",
    "word": "abc",
    "list": "[]",
    "map": "{}",
    "empty": "",
    "true": "true",
    "long": LONG,
    "above": "../../x",
    "backwards": f"'{BACKWARDS}'",
}
"""As Hydra's grammar has them."""
WHOLE = ("zero", "minus_one", "huge")
POSITIVE = (
    *(
        "steps",
        "shift",
        "strength",
        "iterations",
        "lr",
        "lr_end",
        "delta",
        "sf",
        "tau",
        "frames",
        "height",
        "width",
        "fps",
    ),
    *(
        "max_tokens",
        "cases",
        "prompts",
        "points",
        "rank",
        "channels",
        "side",
        "window",
        "levels",
        "updates",
        "pool",
    ),
    *("devices", "checkpoint_every", "target_fps", "temperature"),
)
"""Last names of keys for which 0 is no value."""
FREE = (
    "prompt",
    "negative_prompt",
    "reference_prompt",
    "output_dir",
    "cache_dir",
    "objective",
    "name",
    "project",
    "group",
)
"""Last names of keys that take any text."""
PATHS = (
    "video",
    "path",
    "model",
    "weights",
    "embeddings",
    "amt_checkout",
    "clip_l14",
    "dino",
    "aesthetic",
    "amt",
    "raft",
)
"""Last names of keys that take the path of something that is there."""
UNTYPED = {
    "fps": 1.0,
    "target_fps": 1.0,
    "cache_threshold": 0.05,
    "cache_interval": 1,
    "metrics.frames": 1,
    "tracker.side": 1,
    "metrics.clip.quick_gelu": True,
    "splits": [],
    "categories": [],
    "kinds": [],
}
"""What keys take whose default is null, by name or last name; others take text."""
CLIP = (f"video={HERE}/clip.mp4", "prompt=a dog on grass")
OF_CLIP = ("prompt", "negative_prompt", "reference_prompt", "fps", "start", "frame_policy", "video")
COPIES = ("method.window", "method.skip", "method.guidance", "method.tracker", "experiment")
"""Nodes that repeat others."""
GROUPS = (
    *(("tracker", name) for name in ("lk", "raft", "cotracker3")),
    *(("benchmark", name) for name in ("world", "manifest", "single")),
    ("metrics", "vbench"),
)


def flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots and their values; a list is a value."""
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield from flat(value, f"{key}.")
        else:
            yield key, value


def collect() -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Every key of the composed configurations: its default, and the options that it needs."""
    methods = sorted(file.stem for file in (ROOT / "conf" / "method").glob("*.yaml"))
    options = [("method", "fastvmt"), *(("method", name) for name in methods), *GROUPS]
    found: dict[str, tuple[Any, tuple[str, ...]]] = {}
    with scratch() as folder:
        for group, name in options:
            needed = (f"{group}={name}", *(("sampler.strength=0.5",) if name == "sdedit" else ()))
            out = run_command(("run", *needed, "--cfg", "job", "--resolve"), folder)
            if out.code != 0:
                raise RuntimeError(f"{group}={name} cannot be composed: {out.stderr}")
            for key, value in flat(yaml.safe_load(out.stdout)):
                if not key.startswith(COPIES):
                    own = key.startswith(f"{group}.") and name != "fastvmt"
                    place = f"{name}:{key}" if own and key not in found else key
                    if key not in found and place not in found:
                        found[place] = value, needed if own else ()
    return found


def expected(key: str, default: Any, value: str) -> Expect:
    """What must come of a value, from the key's name and the type of its default."""
    last = key.rsplit(".", 1)[-1]
    kind = UNTYPED.get(key, UNTYPED.get(last, "")) if default is None or key == "backbone.fps" else default
    if value == "null" and (default is None or key == "metrics.clip.architecture" or last in ("cache_dir", *FREE)):
        return Expect.either
    if last == "_target_" or (value in ("inf", "minus_inf", "nan") and not (isinstance(kind, str) and last in FREE)):
        return Expect.refuse
    if isinstance(kind, bool):
        return Expect.either if value in ("true", *WHOLE) else Expect.refuse  # whole numbers are truth values
    if isinstance(kind, int | float):
        return _number(key, last, isinstance(kind, int), value)
    if isinstance(kind, list):
        return Expect.either if value == "list" else Expect.refuse
    return _text(key, last, value)


def _number(key: str, last: str, whole: bool, value: str) -> Expect:
    if value == "zero":
        return Expect.refuse if last in POSITIVE and key != "window.l" else Expect.either
    if value == "one_and_a_half" and not whole:
        return Expect.either
    if value in ("minus_one", "half") and last == "across":
        return Expect.either
    return Expect.refuse


def _text(key: str, last: str, value: str) -> Expect:
    if value == "long" and key not in OF_CLIP[:3]:
        return Expect.refuse  # longer than a name may be
    if last in FREE:
        literal = key in OF_CLIP  # brackets are words there
        return Expect.refuse if value in ("list", "map") and not literal else Expect.either
    if key.startswith("metrics.weights.") and value not in ("list", "map"):
        return Expect.either  # read by other scores only
    return Expect.either if key.startswith("device") and value == "null" else Expect.refuse


def clip(here: Path) -> object:
    """A clip for the keys that need one."""
    return write(here / "clip.mp4", pattern())


def surroundings(key: str, needed: tuple[str, ...]) -> tuple[tuple[str, ...], Callable[[Path], object]]:
    """What a key needs beside itself: a clip, a manifest, or nothing."""
    if key in OF_CLIP or "benchmark=single" in needed:
        return CLIP, clip
    if "benchmark=manifest" in needed:
        return (f"benchmark.path={HERE}/bench.jsonl",), write_manifest
    return (), nothing


def rows() -> list[Trial]:
    """All keys by all values."""
    trials = []
    for place, (default, needed) in collect().items():
        key = place.split(":")[-1]
        last = key.rsplit(".", 1)[-1]
        around, prepare = surroundings(key, needed)
        base = [word for word in (*DRY, *needed, *around) if not word.startswith(f"{key}=")]
        names = (key, last, *((key.split(".")[0],) if key.startswith("tracker.") or last == "_target_" else ()))
        for name, value in VALUES.items():
            text = BACKWARDS if key in OF_CLIP and name == "backwards" else value
            command = (*base, f"{key}={text}")
            trials.append(Trial("settings", f"{place}={name}", command, expected(key, default, name), names, prepare))
    return trials
