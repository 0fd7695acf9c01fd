"""Full-size Wan with random weights: what each memory preset takes, and what transfers of few steps cost.

Run by ``python -m experiments.speed gpu`` (no row begins after three quarters of ``--minutes``, 8) and, at few tokens
on a CPU, ``... real``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from experiments.random_wan import SIZES, RandomWan, Wan
from experiments.speed_loop import DEFAULT, PASS, PLAIN, RELEASED, conditions, conditions_line, settings_of, timed
from experiments.speed_operator import resident_mb, settle
from fastvmt.cost.peaks import guided, tokens_of
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Memory

PARTS = ("peaks", "transfers", "two_gradients")
STEPS, PAPER_STEPS, PAPER_GUIDED = 5, 50, 10
"""Of the measured transfers, a fifth of them guided, and of the paper's, to which they are extrapolated."""
GIB = 2**30
FEW = {"frames": 9, "height": 160, "width": 160}
"""Clips of 3 x 10 x 10 tokens."""
RANDOM = "random weights"


@dataclass(frozen=True)
class Limit:
    """When it is too late to begin, in seconds of ``perf_counter``, and how that is told."""

    end: float
    told: str

    def attempt(self, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is measured, or why it is not."""
        if time.perf_counter() > self.end:
            return {"left_out": self.told}
        try:
            return measure()
        except torch.OutOfMemoryError:
            return {"out_of_memory": True}


def read_blocks(size: Wan) -> int:
    """Blocks that a gradient goes through."""
    return min(14, size.blocks // 2)


def gradient(backbone: RandomWan) -> dict[str, Any]:
    """One gradient of a block's queries and keys: seconds, and the allocator's peak on an accelerator."""
    device = backbone.device
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats(device)
    x = seeded_noise(backbone.layout.latent_shape, 0, device).requires_grad_(True)
    settle(device)
    wall, cpu = time.perf_counter(), time.process_time()
    q, k = backbone.query_key(x, 0.9, backbone.embed("a dog"), read_blocks(backbone.size), True)
    torch.autograd.grad((q.float() * k.float()).mean(), x)
    settle(device)
    peak = None if device.type == "cpu" else torch.accelerator.max_memory_allocated(device) / GIB
    return {
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_gib": peak,
    }


def predicted(backbone: RandomWan) -> float:
    """GiB of the weights and of a gradient at its peak under the backbone's preset, by closed form."""
    layout = backbone.layout
    weights = sum(parameter.nbytes for parameter in backbone.transformer.parameters())
    tokens = tokens_of(layout)
    blocks = read_blocks(backbone.size)
    return (weights + guided(layout.block, tokens, backbone.memory, backbone.dtype.itemsize, blocks)) / GIB


def peaks(size: Wan, device: torch.device, dtype: torch.dtype, limit: Limit) -> dict[str, Any]:
    """A gradient under each memory preset, after one that warms up under the leanest."""
    backbone = RandomWan(size, device, dtype, Memory.low)
    limit.attempt(partial(gradient, backbone))
    rows = {}
    for memory in reversed(Memory):
        backbone.remember(memory)
        rows[memory.value] = limit.attempt(partial(gradient, backbone)) | {"predicted_gib": predicted(backbone)}
    return rows


def extrapolated(rows: dict[str, dict[str, float]], steps: int) -> dict[str, dict[str, float]]:
    """Wall seconds of the paper's 50 steps, 10 guided: plain sampling grows with the steps, the rest with the guided.

    Each row's ``wall_seconds`` is of ``steps`` steps, a fifth of them guided. Rows without are left out.
    """
    walls = {name: row["wall_seconds"] for name, row in rows.items() if "wall_seconds" in row}
    if PLAIN not in walls:
        return {}
    plain = walls[PLAIN]
    found = {}
    for name, wall in walls.items():
        extra = (wall - plain) / (steps / 5)
        seconds = PAPER_STEPS / steps * plain + PAPER_GUIDED * extra
        found[name] = {"seconds": seconds, "ratio": seconds / (PAPER_STEPS / steps * plain)}
    return found


def transfers(size: Wan, device: torch.device, dtype: torch.dtype, limit: Limit) -> dict[str, Any]:
    """Plain sampling, the default, the shared pass and the released schedule, after plain sampling that warms up."""
    backbone = RandomWan(size, device, dtype, Memory.balanced)
    case = backbone.case()
    words = settings_of(size, STEPS)
    limit.attempt(partial(timed, backbone, case, PLAIN, words))
    names = (PLAIN, DEFAULT, PASS, RELEASED)
    rows = {name: limit.attempt(partial(timed, backbone, case, name, words)) for name in names}
    return {"rows": rows, "extrapolated": extrapolated(rows, STEPS)}


def two_gradients(size: Wan, device: torch.device, dtype: torch.dtype, limit: Limit) -> dict[str, Any]:
    """Two gradients under the leanest memory preset: the first one warms up."""
    backbone = RandomWan(size, device, dtype, Memory.low)
    return {name: limit.attempt(partial(gradient, backbone)) for name in ("first", "second")}


def gpu_record(small: str, large: str, device: torch.device, minutes: float) -> dict[str, Any]:
    """All parts in their order; parts and rows that come too late or run out of memory are left out, and told."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    parts: dict[str, tuple[str, Callable[[Wan, torch.device, torch.dtype, Limit], dict[str, Any]]]] = {
        "peaks": (small, peaks),
        "transfers": (small, transfers),
        "two_gradients": (large, two_gradients),
    }
    limit = Limit(time.perf_counter() + 0.75 * 60 * minutes, f"left out after 0.75 x {minutes:g} minutes")
    record = dict[str, Any]()
    for part, (name, measure) in parts.items():
        work = partial(measure, SIZES[name], device, dtype, limit)
        record[part] = {"model": f"{name}, {RANDOM}"} | limit.attempt(lambda work=work: {"found": work()})
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    size = SIZES[small]
    clip = {"frames": size.frames, "height": size.height, "width": size.width}
    return {"weights": RANDOM, "dtype": str(dtype), "steps": STEPS, **clip, **record} | conditions(1)


def real_record(name: str, device: torch.device) -> dict[str, Any]:
    """A forward through all blocks and a gradient at 300 tokens, in float32 and bfloat16."""
    size = replace(SIZES[name], **FEW) if name != "tiny" else SIZES[name]
    rows = {}
    for dtype in (torch.float32, torch.bfloat16):
        backbone = RandomWan(size, device, dtype)
        x = seeded_noise(size.layout.latent_shape, 0, device)
        text = backbone.embed("a dog")
        with torch.no_grad():
            backbone.velocity(x, 0.9, text)
            wall, cpu = time.perf_counter(), time.process_time()
            backbone.velocity(x, 0.9, text)
            row = {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        rows[str(dtype)] = {"forward": row, "gradient": gradient(backbone), "resident_mb": resident_mb("VmRSS")}
        del backbone
        gc.collect()
    tokens = size.layout.grid[0] * size.layout.grid[1] * size.layout.grid[2]
    return {"model": f"{name}, {RANDOM}", "tokens": tokens, "rows": rows} | conditions(1)


def real_lines(record: dict[str, Any]) -> list[str]:
    """The record as a markdown table."""
    start = f"{record['model']}, {record['tokens']} tokens; {conditions_line(record)}."
    lines = ["## A real-size model at few tokens", "", start, ""]
    lines += ["| dtype | forward, CPU s | gradient, CPU s | resident MB |", "|---|---|---|---|"]
    return lines + [
        f"| {dtype.removeprefix('torch.')} | {r['forward']['cpu_seconds']:.2f} | {r['gradient']['cpu_seconds']:.2f} | "
        f"{r['resident_mb']:.0f} |"
        for dtype, r in record["rows"].items()
    ]


def gpu_lines(record: dict[str, Any]) -> list[str]:
    """The record as markdown tables."""
    clip = f"{record['frames']} frames of {record['height']} x {record['width']}"
    lines = ["## Full size", "", f"{clip}, {record['dtype']}, **{record['weights']}**; {conditions_line(record)}.", ""]
    for part in PARTS:
        if "found" not in record[part]:
            lines += [f"{record[part]['model']}, {part}: {cell(record[part], '')}.", ""]
    peaked = record["peaks"].get("found", {})
    lines += ["| memory | seconds of a gradient | allocator's peak, GiB | predicted, GiB |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {cell(row, 'wall_seconds')} | {cell(row, 'peak_gib')} | {row['predicted_gib']:.2f} |"
        for name, row in peaked.items()
    ]
    steps = record["steps"]
    lines += ["", f"| form | seconds of {steps} steps | of 50, 10 guided, extrapolated | / none |", "|---|---|---|---|"]
    found = record["transfers"].get("found", {"rows": {}, "extrapolated": {}})
    for name, row in found["rows"].items():
        far = found["extrapolated"].get(name, {})
        lines.append(f"| {name} | {cell(row, 'wall_seconds')} | {cell(far, 'seconds', 1)} | {cell(far, 'ratio')} |")
    large = record["two_gradients"]
    if "found" in large:
        second = large["found"]["second"]
        told = cell(second, "wall_seconds")
        if "wall_seconds" in second:
            told = f"{told} s, peak {cell(second, 'peak_gib')} GiB"
        lines += ["", f"Second of two gradients of {large['model']}, memory=low: {told}."]
    return lines


def cell(row: dict[str, Any], column: str, digits: int = 2) -> str:
    """A number of a row, or why there is none."""
    if "out_of_memory" in row:
        return "out of memory"
    number = row.get(column)
    return str(row.get("left_out", "-")) if number is None else f"{number:.{digits}f}"
