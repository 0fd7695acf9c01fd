"""The released code's displacements as nested loops over pairs, tiles and cells, and its switches."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from fastvmt.motion.switches import Switches
from fastvmt.settings import TileQuery, Window

Grid = tuple[int, int, int]
CORRECT = Switches()
CODE = Switches(
    "official_scramble",
    "positions",
    "missing",
    "zero_coord",
    "channels",
    "plain",
    True,
    "code",
    "sum",
    "bfloat16",
    "bfloat16",
)


def features(grid: Grid, width: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (grid[0], grid[1] * grid[2], width)
    q, k = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return q, k


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def loop_window(centre: np.ndarray, height: int, width: int, l: int, clamp: str) -> list[tuple[int, int]]:
    """Cells of the window around a soft centre, row by row."""
    half = l // 2
    if clamp == "positions":
        ends = ((half, height - 1 - half), (half, width - 1 - half))
        axes = [
            [int(min(max(at + step, low), high)) for step in range(-half, half + 1)]
            for at, (low, high) in zip(centre, ends, strict=True)
        ]
    else:
        sides = min(l, height), min(l, width)
        starts = [
            min(max(round(float(at)) - side // 2, 0), extent - side)
            for at, side, extent in zip(centre, sides, (height, width), strict=True)
        ]
        axes = [list(range(start, start + side)) for start, side in zip(starts, sides, strict=True)]
    return list(itertools.product(*axes))


def loop_flow(
    q: np.ndarray, k: np.ndarray, pairs: list, grid: Grid, scale: float, window: Window, switches: Switches
) -> tuple[np.ndarray, list[list[list[tuple[int, int]]]]]:
    """Displacements (P, S, 2) and every window's cells, written as nested loops over pairs and tiles."""
    _, height, width = grid
    frame = np.array(list(itertools.product(range(height), range(width))), float)
    tall, wide = window.tile
    flow, windows = np.zeros((len(pairs), height, width, 2)), []
    for p, (i, j) in enumerate(pairs):
        windows.append([])
        for top, left in itertools.product(range(0, height, tall), range(0, width, wide)):
            cells = [(r, c) for r in range(top, min(top + tall, height)) for c in range(left, min(left + wide, width))]
            middle = (top + tall // 2, left + wide // 2)
            middle = middle if middle in cells else cells[-1]
            stands = cells if window.query is TileQuery.mean else [middle]
            query = np.mean([q[i, r * width + c] for r, c in stands], axis=0)
            centre = softmax(scale * k[j] @ query) @ frame
            chosen = loop_window(centre, height, width, window.l, switches.window_clamp)
            windows[-1].append(chosen)
            for r, c in cells:
                logits = np.array([scale * k[j, a * width + b] @ q[i, r * width + c] for a, b in chosen])
                flow[p, r, c] = loop_displacement(logits, chosen, (r, c), (top, left), min(window.l, width), switches)
    return flow.reshape(len(pairs), height * width, 2), windows


def loop_displacement(
    logits: np.ndarray, chosen: list, own: tuple[int, int], corner: tuple[int, int], l: int, switches: Switches
) -> np.ndarray:
    """One token's displacement, cell by cell."""
    if switches.parity == "subsample":
        weights = np.zeros(len(chosen))
        weights[::2] = softmax(logits[::2])
    else:
        weights = softmax(logits)
    expected = np.zeros(2)
    first = np.array(chosen[0], float)
    for m, (weight, cell) in enumerate(zip(weights, chosen, strict=True)):
        place = np.array([m // l, m % l], float) if switches.offset == "missing" else np.array(cell, float) - first
        if switches.parity == "zero_coord" and m % 2:
            place = np.zeros(2)
        expected += weight * place
    if switches.offset == "missing":
        return expected - (np.array(own) - np.array(corner))
    return expected + first - np.array(own)
