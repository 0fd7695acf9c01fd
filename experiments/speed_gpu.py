"""Full-size Wan with random weights: what each memory preset takes, and what transfers of few steps cost.

Run by ``python -m experiments.speed gpu`` (at most ``--minutes``, 8) and, at few tokens on a CPU, ``... real``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from experiments.random_wan import SIZES, RandomWan, Wan
from experiments.speed_loop import DEFAULT, PASS, PLAIN, RELEASED, conditions, conditions_line, measured, settings_of
from experiments.speed_operator import resident_mb, settle
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Memory

STEPS, PAPER_STEPS, PAPER_GUIDED = 5, 50, 10
"""Of the measured transfers, a fifth of them guided, and of the paper's, to which they are extrapolated."""
GIB = 2**30
FEW = {"frames": 9, "height": 160, "width": 160}
"""Clips of 3 x 10 x 10 tokens."""
RANDOM = "random weights"


def gradient(backbone: RandomWan) -> dict[str, Any]:
    """One gradient of a block's queries and keys: seconds, and the allocator's peak on an accelerator."""
    device = backbone.device
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats(device)
    x = seeded_noise(backbone.layout.latent_shape, 0, device).requires_grad_(True)
    settle(device)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        q, k = backbone.query_key(x, 0.9, backbone.embed("a dog"), min(14, backbone.size.blocks // 2), True)
        torch.autograd.grad((q.float() * k.float()).mean(), x)
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}
    settle(device)
    peak = None if device.type == "cpu" else torch.accelerator.max_memory_allocated(device) / GIB
    return {
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_gib": peak,
    }


def peaks(size: Wan, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """A gradient under each memory preset, after one that warms up under the leanest."""
    backbone = RandomWan(size, device, dtype, Memory.low)
    gradient(backbone)
    rows = {}
    for memory in reversed(Memory):
        backbone.remember(memory)
        rows[memory.value] = gradient(backbone)
    return rows


def extrapolated(rows: dict[str, dict[str, float]], steps: int) -> dict[str, dict[str, float]]:
    """Wall seconds of the paper's 50 steps, 10 guided: plain sampling grows with the steps, the rest with the guided.

    Each row's ``wall_seconds`` is of ``steps`` steps, a fifth of them guided.
    """
    plain = rows[PLAIN]["wall_seconds"]
    found = {}
    for name, row in rows.items():
        extra = (row["wall_seconds"] - plain) / (steps / 5)
        seconds = PAPER_STEPS / steps * plain + PAPER_GUIDED * extra
        found[name] = {"seconds": seconds, "ratio": seconds / (PAPER_STEPS / steps * plain)}
    return found


def transfers(size: Wan, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Plain sampling, the default, the shared pass and the released schedule."""
    backbone = RandomWan(size, device, dtype, Memory.balanced)
    names = (PLAIN, DEFAULT, PASS, RELEASED)
    rows = measured(backbone, backbone.case(), names, settings_of(size, STEPS), repeats=1)
    return {"rows": rows, "extrapolated": extrapolated(rows, STEPS)}


def two_gradients(size: Wan, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Two gradients under the leanest memory preset: the first one warms up."""
    backbone = RandomWan(size, device, dtype, Memory.low)
    return {"first": gradient(backbone), "second": gradient(backbone)}


def gpu_record(small: str, large: str, device: torch.device, minutes: float) -> dict[str, Any]:
    """All parts in their order; one that would begin after three quarters of the time is left out, and told."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    parts: dict[str, tuple[str, Callable[[Wan, torch.device, torch.dtype], dict[str, Any]]]] = {
        "peaks": (small, peaks),
        "transfers": (small, transfers),
        "two_gradients": (large, two_gradients),
    }
    start, record = time.perf_counter(), dict[str, Any]()
    for part, (name, measure) in parts.items():
        if time.perf_counter() - start > 0.75 * 60 * minutes:
            record[part] = {"left_out": f"began after 0.75 x {minutes} minutes"}
            continue
        record[part] = {"model": f"{name}, {RANDOM}", "found": measure(SIZES[name], device, dtype)}
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
        x, text = seeded_noise(size.layout.latent_shape, 0, device), backbone.embed("a dog")
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
    peaked = record["peaks"].get("found", {})
    lines += ["| memory | seconds of a gradient | allocator's peak, GiB |", "|---|---|---|"]
    lines += [f"| {name} | {cell(row, 'wall_seconds')} | {cell(row, 'peak_gib')} |" for name, row in peaked.items()]
    steps = record["steps"]
    lines += ["", f"| form | seconds of {steps} steps | of 50, 10 guided, extrapolated | / none |", "|---|---|---|---|"]
    found = record["transfers"].get("found", {"rows": {}, "extrapolated": {}})
    for name, row in found["rows"].items():
        far = found["extrapolated"][name]
        lines.append(f"| {name} | {row['wall_seconds']:.2f} | {far['seconds']:.1f} | {far['ratio']:.2f} |")
    large = record["two_gradients"]
    if "found" in large:
        second = large["found"]["second"]
        told = f"{cell(second, 'wall_seconds')} s, peak {cell(second, 'peak_gib')} GiB"
        lines += ["", f"Second of two gradients of {large['model']}, memory=low: {told}."]
    return lines


def cell(row: dict[str, Any], column: str) -> str:
    """A number of a gradient's row, if there is one."""
    if "out_of_memory" in row:
        return "out of memory"
    return "-" if row[column] is None else f"{row[column]:.2f}"
