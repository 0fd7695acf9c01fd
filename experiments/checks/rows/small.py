"""The shortest runs that still do everything, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.checks.trial import HERE, Outcome

OUT = f"output_dir={HERE}/out"
QUIET = ("logger=none", "cache_dir=null", OUT)
DRY = ("run", "dry=true", *QUIET)
SIZE = ("backbone.frames=5", "backbone.height=48", "backbone.width=48")
PLAIN = ("run", "method=none", "sampler.steps=1", "sampler.cfg_scale=1", "metrics=none", *SIZE, *QUIET)
"""One denoising step without motion transfer or scores."""
GUIDED = (
    "sampler.steps=2",
    "guidance.fraction=1",
    "guidance.iterations=1",
    "skip.delta=1",
    "guidance.block=1",
    "window.l=3",
    "window.sf=2",
    *SIZE,
)
"""FastVMT in two denoising steps."""
VIDEO = ("prompt=a dog on grass", "lossless=true")


def records(here: Path) -> list[dict[str, Any]]:
    """The cases of ``out/result.json``."""
    cases: list[dict[str, Any]] = json.loads((here / "out" / "result.json").read_text())["cases"]
    return cases


def pixels(cases: list[dict[str, Any]]) -> dict[str, tuple[object, object]]:
    """Hashes of frames and the scores by case."""
    return {case["id"]: (case["frames_sha256"], case["scores"]) for case in cases}


def unscored(here: Path, _outcome: Outcome) -> str | None:
    """A case that went wrong may be recorded as diverged, but with no score."""
    for case in records(here):
        scores = {name: value for name, value in case["scores"].items() if value is not None}
        if scores:
            return f"scored: {json.dumps(scores)[:200]}"
        if "diverged" not in json.dumps(case):
            return "taken for a result"
    return None
