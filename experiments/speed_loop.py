"""Whole transfers in their forms: seconds of the denoising loop with its guidance, as ratios to plain sampling.

Run by ``python -m experiments.speed loop``, ``... frames``, ``... gpu`` and ``... real``.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from experiments.embedded import embedded
from experiments.random_wan import SIZES, RandomWan, Wan
from experiments.rows import composed
from fastvmt.backbones.base import Backbone
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.cache import TensorCache
from fastvmt.construct import construct
from fastvmt.cost.cost import loop_with_reference
from fastvmt.methods.base import Method
from fastvmt.methods.transfer import transfer_case
from fastvmt.settings import Sampler
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import TransferCase

PLAIN, DEFAULT, PASS = "none", "fastvmt, delta 3", "shared pass"
RELEASED = "released schedule"
FULL_DEPTH = ("full depth", RELEASED)
"""Forms whose readings run all blocks."""
FORMS: dict[str, list[str]] = {
    PLAIN: ["method=none"],
    **{f"fastvmt, delta {delta}": [f"skip.delta={delta}"] for delta in (1, 2, 3, 5)},
    "full depth": [],
    "dense": ["window.l=0"],
    RELEASED: ["method=fastvmt_official"],
    PASS: ["guidance.source=pass"],
    "shared pass, negative every 2": ["guidance.source=pass", "sampler.negative_every=2"],
    "flowmotion": ["method=flowmotion"],
    "ditflow": ["method=ditflow"],
    "motionclone": ["method=motionclone"],
}
"""Overrides by form."""
QUIETER = {"motionclone": ["method.weight=0.001"]}
"""What random weights want, whose gradients are of any size."""


class CpuSeconds:
    """CPU seconds of this process by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.mark = time.process_time()

    def border(self, stage: str | None) -> None:
        now = time.process_time()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.mark
        self.mark = now


@contextmanager
def full_depth(backbone: Backbone) -> Iterator[None]:
    """Within the context queries and keys are read from a pass through every block."""

    def query_key(x: Tensor, sigma: float, text: Tensor, block: int, rope: bool) -> tuple[Tensor, Tensor]:
        return backbone.tapped_velocity(x, sigma, text, block, rope)[1:]

    backbone.query_key = query_key
    try:
        yield
    finally:
        del backbone.query_key


def form(name: str, words: Sequence[str]) -> tuple[Method, Sampler]:
    """Method and sampler of a form under overrides of all."""
    from omegaconf import OmegaConf

    cfg = composed([*words, *FORMS[name]])
    sampler: Any = OmegaConf.to_object(cfg.sampler)
    return construct(cfg.method, "method"), sampler


def timed(backbone: Backbone, case: TransferCase, name: str, words: Sequence[str]) -> dict[str, float]:
    """CPU and wall seconds of one loop, and the passes that it took."""
    quieter = QUIETER.get(name, []) if isinstance(backbone, RandomWan) else []
    method, sampler = form(name, [*words, *quieter])
    cpu = CpuSeconds()
    watch = Stopwatch(backbone.device, [cpu])
    scope = full_depth(backbone) if name in FULL_DEPTH else backbone.shortcuts.case()
    with scope:
        result = transfer_case(backbone, method, sampler, case, TensorCache(None), watch=watch)
    return {
        "cpu_seconds": loop_with_reference(cpu.seconds),
        "wall_seconds": loop_with_reference(result.seconds),
        "block_forwards": result.passes.block_forwards,
        "block_backwards": result.passes.block_backwards,
    }


def measured(
    backbone: Backbone, case: TransferCase, names: Sequence[str], words: Sequence[str], repeats: int
) -> dict[str, dict[str, float]]:
    """By form, medians of repeats that take turns; ratios are medians of those to plain sampling of the same turn."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    timed(backbone, case, names[0], words)
    for _ in range(repeats):
        for name in names:
            runs[name].append(timed(backbone, case, name, words))
    rows = {}
    for name, turns in runs.items():
        row = {column: statistics.median(turn[column] for turn in turns) for column in turns[0]}
        for clock in ("cpu", "wall"):
            key, base = f"{clock}_seconds", zip(turns, runs[PLAIN], strict=True)
            row[f"{clock}_ratio"] = statistics.median(turn[key] / max(plain[key], 1e-9) for turn, plain in base)
        rows[name] = row
    return rows


def tiny_wan() -> tuple[Backbone, TransferCase, list[str]]:
    """The embedded model, a case of its world, and its overrides: none."""
    backbone = embedded()
    return backbone, WorldBenchmark(backbone.layout.clip, 8, 0, cases=1, categories=["single_object"], seed=4)[0], []


def settings_of(size: Wan, steps: int) -> list[str]:
    """The paper's numbers for a random model of a size, in so many steps."""
    grid = size.layout.grid
    side = min(21, min(grid[1:]) // 2 * 2 - 1)
    return [
        "preset=none",
        f"sampler.steps={steps}",
        f"guidance.block={min(14, size.blocks // 2)}",
        f"window.l={max(side, 1)}",
        f"window.sf={min(4, grid[0] - 1)}",
        f"window.tile=[{min(3, grid[1])},{min(4, grid[2])}]",
    ]


def loop_record(model: str, names: Sequence[str], device: torch.device, repeats: int, steps: int) -> dict[str, Any]:
    """What ``python -m experiments.speed loop`` measures."""
    if model == "tiny-wan":
        backbone, case, words = tiny_wan()
    else:
        backbone = RandomWan(SIZES[model], device, torch.float32)
        case, words = backbone.case(), settings_of(SIZES[model], steps)
    found = measured(backbone, case, names, words, repeats)
    return {"model": backbone.name, "overrides": words, "rows": found} | conditions(repeats)


def frames_record(model: str, frames: Sequence[int], device: torch.device, repeats: int, steps: int) -> dict[str, Any]:
    """Plain sampling, the default and the shared pass of a random model over frames, then at other heights."""
    size = SIZES[model]
    backbone = RandomWan(size, device, torch.float32)
    rows = []
    scaled = [(frames[0], size.height * part // 2 // 16 * 16, size.width * part // 2 // 16 * 16) for part in (1, 3)]
    for at in [*((count, size.height, size.width) for count in frames), *scaled]:
        backbone.resized(*at)
        words = settings_of(backbone.size, steps)
        for name, row in measured(backbone, backbone.case(), (PLAIN, DEFAULT, PASS), words, repeats).items():
            rows.append({"form": name, "frames": at[0], "height": at[1], "width": at[2], **row})
    return {"model": backbone.name, "steps": steps, "rows": rows} | conditions(repeats)


def conditions(repeats: int) -> dict[str, Any]:
    """How busy the machine was, and how often it was measured."""
    return {"repeats": repeats, "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}


def conditions_line(record: dict[str, Any]) -> str:
    return (
        f"{record['threads']} thread(s), median of {record['repeats']} interleaved repeat(s), load {record['load']:.1f}"
    )


def loop_lines(record: dict[str, Any]) -> list[str]:
    """The record as a markdown table."""
    start = " ".join([record["model"], *record["overrides"]])
    lines = [f"## Transfers of {record['model']}", "", f"{start}: {conditions_line(record)}.", ""]
    busy = record["load"] > 1  # wall seconds are then of the others' work too
    lines += ["| form | CPU s | CPU / none | wall / none | block forwards | backwards |", "|---|---|---|---|---|---|"]
    return lines + [
        f"| {name} | {r['cpu_seconds']:.2f} | {r['cpu_ratio']:.2f} "
        f"| {'busy' if busy else format(r['wall_ratio'], '.2f')} "
        f"| {r['block_forwards']:.0f} | {r['block_backwards']:.0f} |"
        for name, r in record["rows"].items()
    ]


def frames_lines(record: dict[str, Any]) -> list[str]:
    """The record as a markdown table."""
    start = f"{record['model']}, {record['steps']} steps, a fifth of them guided; {conditions_line(record)}."
    lines = ["## Transfers over frames and sizes", "", start, ""]
    lines += ["| frames | size | form | CPU s | CPU / none |", "|---|---|---|---|---|"]
    return lines + [
        f"| {r['frames']} | {r['height']} x {r['width']} | {r['form']} "
        f"| {r['cpu_seconds']:.2f} | {r['cpu_ratio']:.2f} |"
        for r in record["rows"]
    ]
