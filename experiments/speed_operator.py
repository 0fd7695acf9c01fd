"""The flow operator in its forms: time and memory of a forward and a backward pass.

Run by ``python -m experiments.speed operator`` and ``... growth``.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastvmt.motion.ditflow import expected_flow
from fastvmt.motion.flow import full_flow
from fastvmt.motion.pairs import all_pairs, frame_pairs
from fastvmt.motion.released import place_windows, released_pairs, switched_flow
from fastvmt.motion.switches import Switches
from fastvmt.motion.window import in_tiles, out_of_tiles, token_positions
from fastvmt.motion.windowed import tile_queries, windowed_flow
from fastvmt.settings import TileQuery, Window
from fastvmt.types import Pairs

RELEASED = Switches(window_clamp="positions", offset="missing", parity="zero_coord", self_pairs=True, pair_range="code")


@dataclass(frozen=True)
class Size:
    """What the operator works on; the defaults are 81 frames of 480 x 832 pixels with the paper's windows."""

    frames: int = 21
    """Latent frames."""
    height: int = 30
    width: int = 52
    channels: int = 128
    span: int = 4
    tile: tuple[int, int] = (3, 4)
    side: int = 21

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.frames, self.height, self.width

    @property
    def scale(self) -> float:
        return float(self.channels**-0.5)

    def inputs(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Queries and keys (F, S, E) that want a gradient."""
        generator = torch.Generator().manual_seed(0)
        shape = self.frames, self.height * self.width, self.channels
        q, k = (torch.randn(shape, generator=generator).to(device).requires_grad_(True) for _ in range(2))
        return q, k


def windows(q: Tensor, k: Tensor, size: Size) -> Tensor:
    """FastVMT's windowed flow."""
    pairs = frame_pairs(size.frames, size.span)
    return windowed_flow(q, k, pairs, size.grid, size.scale, tile=size.tile, side=size.side)[0].flow_PS2


def windows_of_frames(q: Tensor, k: Tensor, size: Size) -> Tensor:
    """The same, its windows picked from the logits of whole frames."""
    window = Window(l=size.side, sf=size.span, tile=list(size.tile), centre_gradient=False)
    pairs = frame_pairs(size.frames, size.span)
    return switched_flow(q, k, pairs, size.grid, size.scale, window, Switches())[0].flow_PS2


def dense_within_span(q: Tensor, k: Tensor, size: Size) -> Tensor:
    """Dense flow of the same pairs."""
    return full_flow(q, k, frame_pairs(size.frames, size.span), size.grid, size.scale).flow_PS2


def dense_all_pairs(q: Tensor, k: Tensor, size: Size) -> Tensor:
    """Dense flow of all ordered pairs of frames, DiTFlow's."""
    return full_flow(q, k, all_pairs(size.frames), size.grid, size.scale).flow_PS2


def dense_checkpointed(q: Tensor, k: Tensor, size: Size) -> Tensor:
    """The same, with the attention computed again for the gradient: what method=ditflow runs."""
    return expected_flow(q, k, all_pairs(size.frames), size.grid, size.scale).flow_PS2


def released(q: Tensor, k: Tensor, size: Size) -> Tensor:
    """The released function's work: every frame with itself densely, then windows frame by frame.

    As there, keys are collected by a ``gather`` from a view that repeats the frame's keys for every cell.
    """
    frame = size.grid[1:]
    positions_S2 = token_positions(*frame, device=q.device)
    in_tile_S2 = torch.stack([positions_S2[:, 0] % size.tile[0], positions_S2[:, 1] % size.tile[1]], -1)
    q_FTtE = in_tiles(q, frame, size.tile)
    middle_FTE = tile_queries(q, frame, size.tile, TileQuery.centre).detach()
    flows = []
    for i, j in released_pairs(size.frames, size.span, RELEASED):
        if i == j:
            flows.append((size.scale * q[i] @ k[j].T).softmax(-1) @ positions_S2 - positions_S2)
            continue
        centre_T2 = (size.scale * middle_FTE[i] @ k[j].detach().T).softmax(-1) @ positions_S2
        index_TL, places_L2, _ = place_windows(centre_T2, frame, size.side, RELEASED)
        cells = index_TL.shape[1]
        index_TLE = index_TL[..., None].expand(-1, -1, size.channels)
        k_TLE = k[j][:, None].expand(-1, cells, -1).gather(0, index_TLE)
        even_L1 = 1 - torch.arange(cells, device=q.device)[:, None] % 2
        place_TtL = (size.scale * q_FTtE[i] @ k_TLE.mT).softmax(-1) @ (places_L2 * even_L1)
        flows.append(out_of_tiles(place_TtL[None], frame, size.tile)[0] - in_tile_S2)
    return torch.stack(flows)


Form = Callable[[Tensor, Tensor, Size], Tensor]
FORMS: dict[str, Form] = {
    "windows (ours)": windows,
    "windows picked from whole frames": windows_of_frames,
    "dense within the span": dense_within_span,
    "dense, all pairs": dense_all_pairs,
    "dense, all pairs, checkpointed": dense_checkpointed,
    "released function": released,
}
OURS, DENSE, ALL, CODE = "windows (ours)", "dense within the span", "dense, all pairs", "released function"
TARGETS = {
    "memory, ours / dense within the span": ("peak_mb", OURS, DENSE, 0.5),
    "time, ours / dense within the span": ("cpu_seconds", OURS, DENSE, 1.1),
    "time, ours / dense over all pairs": ("cpu_seconds", OURS, ALL, 0.2),
    "time, ours / released function": ("cpu_seconds", OURS, CODE, 0.2),
}
"""What is compared: column, form, the form it is divided by and the largest ratio wanted."""


def forward_backward(form: Form, size: Size, inputs: tuple[Tensor, Tensor]) -> None:
    """One flow and the gradient of its squares."""
    torch.autograd.grad(form(*inputs, size).square().sum(), inputs)


def timed(form: Form, size: Size, device: torch.device) -> dict[str, float]:
    """CPU and wall seconds of one forward and backward pass, inputs not counted."""
    inputs = size.inputs(device)
    settle(device)
    wall, cpu = time.perf_counter(), time.process_time()
    forward_backward(form, size, inputs)
    settle(device)
    return {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}


def settle(device: torch.device) -> None:
    """Wait for an accelerator."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def resident_mb(kind: str) -> float:
    """This process's resident memory now (VmRSS) or at most so far (VmHWM), MB, as Linux tells.

    The peak of ``getrusage`` would include the parent's.
    """
    (kib,) = re.findall(rf"^{kind}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kib) * 1024 / 1e6


def peak_mb(name: str, size: Size, device: torch.device) -> float:
    """Largest memory of one pass beyond the inputs, MB, in this process, which should have done nothing else.

    On the CPU resident memory; on an accelerator what its allocator gave out.
    """
    torch.set_num_threads(1)
    small = Size(3, 4, 4, 4, 2, (2, 2), 3)
    forward_backward(FORMS[name], small, small.inputs(device))  # libraries load
    inputs = size.inputs(device)
    settle(device)
    if device.type == "cpu":
        before = resident_mb("VmRSS")
        forward_backward(FORMS[name], size, inputs)
        return resident_mb("VmHWM") - before
    torch.accelerator.reset_peak_memory_stats(device)
    before = torch.accelerator.memory_allocated(device)
    forward_backward(FORMS[name], size, inputs)
    return float(torch.accelerator.max_memory_allocated(device) - before) / 1e6


def fresh_peak_mb(name: str, size: Size, device: torch.device) -> float:
    """:func:`peak_mb` in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return float(pool.apply(peak_mb, (name, size, device)))


def measure(names: Sequence[str], size: Size, device: torch.device, repeats: int) -> dict[str, dict[str, Any]]:
    """By form: median seconds of repeats that take turns, and peak memory of a fresh process each."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for name in names:
        timed(FORMS[name], replace(size, frames=2, span=2), device)
    for _ in range(repeats):
        for name in names:
            runs[name].append(timed(FORMS[name], size, device))
    return {
        name: {
            **{column: statistics.median(row[column] for row in rows) for column in rows[0]},
            "peak_mb": fresh_peak_mb(name, size, device),
        }
        for name, rows in runs.items()
    }


def pair_count(name: str, size: Size) -> int:
    """Frame pairs that a form works on."""
    pairs: Pairs = frame_pairs(size.frames, size.span)
    if name.startswith(ALL):
        pairs = all_pairs(size.frames)
    elif name == CODE:
        pairs = released_pairs(size.frames, size.span, RELEASED)
    return len(pairs)


def ratios(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each comparison of ``TARGETS``: the ratio, the limit and whether it is met."""
    found = {}
    for what, (column, form, base, limit) in TARGETS.items():
        if form in rows and base in rows:
            ratio = rows[form][column] / rows[base][column]
            found[what] = {"ratio": ratio, "limit": limit, "met": ratio <= limit}
    return found


def operator_record(names: Sequence[str], size: Size, device: torch.device, repeats: int) -> dict[str, Any]:
    """What ``python -m experiments.speed operator`` measures."""
    rows = measure(names, size, device, repeats)
    return settings(size, device, repeats) | {
        "forms": {name: {"pairs": pair_count(name, size), **row} for name, row in rows.items()},
        "ratios": ratios(rows),
    }


def growth_record(size: Size, device: torch.device, repeats: int) -> dict[str, Any]:
    """Ours and the dense form over numbers of frames, then over grids at few frames (``experiments.speed growth``)."""
    frames = [replace(size, frames=count) for count in range(5, size.frames + 1, 4)]
    few = replace(size, frames=min(9, size.frames))
    grids = [replace(few, height=few.height * part // 2, width=few.width * part // 2) for part in (1, 3)]
    rows = []
    for at in frames + grids:
        for name, row in measure([OURS, DENSE], at, device, repeats).items():
            rows.append({"form": name, "frames": at.frames, "height": at.height, "width": at.width, **row})
    return settings(size, device, repeats) | {"rows": rows}


def settings(size: Size, device: torch.device, repeats: int) -> dict[str, Any]:
    """How a record was measured."""
    return {
        "size": asdict(size),
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "memory": "resident, beyond the inputs, fresh process" if device.type == "cpu" else "allocator, beyond inputs",
    }


def settings_line(record: dict[str, Any]) -> str:
    size = record["size"]
    return (
        f"{size['channels']} channels, span {size['span']}, tile {size['tile'][0]} x {size['tile'][1]}, windows of "
        f"{size['side']}: forward and backward, float32, {record['threads']} thread(s), median of {record['repeats']} "
        f"interleaved repeat(s). Memory: {record['memory']}."
    )


def operator_lines(record: dict[str, Any]) -> list[str]:
    """The record as markdown tables."""
    size = record["size"]
    lines = ["## The flow operator", ""]
    lines += [
        f"{size['frames']} latent frames of {size['height']} x {size['width']} tokens, {settings_line(record)}",
        "",
    ]
    lines += ["| form | frame pairs | CPU s | wall s | peak MB |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {r['pairs']} | {r['cpu_seconds']:.2f} | {r['wall_seconds']:.2f} | {r['peak_mb']:.0f} |"
        for name, r in record["forms"].items()
    ]
    lines += ["", "| comparison | ratio | at most | met |", "|---|---|---|---|"]
    return lines + [
        f"| {what} | {r['ratio']:.3f} | {r['limit']} | {'yes' if r['met'] else 'no'} |"
        for what, r in record["ratios"].items()
    ]


def growth_lines(record: dict[str, Any]) -> list[str]:
    """The record as a markdown table."""
    lines = ["## Its growth with frames and grid", "", settings_line(record), ""]
    lines += ["| latent frames | grid | form | CPU s | peak MB |", "|---|---|---|---|---|"]
    return lines + [
        f"| {r['frames']} | {r['height']} x {r['width']} | {r['form']} | {r['cpu_seconds']:.2f} | {r['peak_mb']:.0f} |"
        for r in record["rows"]
    ]
