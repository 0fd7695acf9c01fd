"""Procedural, textured backgrounds: one function per background of the vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def noise(rng: np.random.Generator, size: int, scale: float, stretch: float = 1.0) -> Image:
    """Smooth noise in about [-1, 1] of shape (size, size); ``scale`` is the grain in pixels."""
    rows, columns = max(3, int(size / (scale * stretch))), max(3, int(size / scale))
    grid = rng.standard_normal((rows, columns)).astype(np.float32)
    field = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(field / 2.0, -1.0, 1.0), np.float32)


def shade(base: tuple[float, float, float], light: Image, tint: tuple[float, float, float]) -> Image:
    """``base`` colour plus ``light`` (H, W) times ``tint``."""
    return np.asarray(base, np.float32) + light[..., None] * np.asarray(tint, np.float32)


def grass(rng: np.random.Generator, size: int) -> Image:
    blades = 0.7 * noise(rng, size, 5, stretch=2.0) + 0.5 * noise(rng, size, 22)
    return shade((0.38, 0.64, 0.26), blades, (0.13, 0.17, 0.10))


def sand(rng: np.random.Generator, size: int) -> Image:
    v = np.arange(size, dtype=np.float32)[:, None]
    ripples = np.sin(2 * np.pi * (v / 14.0 + 0.9 * noise(rng, size, 30)))
    return shade((0.88, 0.77, 0.54), 0.6 * ripples + 0.5 * noise(rng, size, 9), (0.08, 0.09, 0.10))


def sea(rng: np.random.Generator, size: int) -> Image:
    v = np.arange(size, dtype=np.float32)[:, None]
    waves = np.sin(2 * np.pi * (v / 16.0 + 0.7 * noise(rng, size, 34)))
    light = 0.7 * waves + 0.5 * noise(rng, size, 12, stretch=0.5)
    return shade((0.15, 0.46, 0.76), light, (0.10, 0.14, 0.12))


def snow(rng: np.random.Generator, size: int) -> Image:
    drifts = 0.7 * noise(rng, size, 16) + 0.5 * noise(rng, size, 7)
    return shade((0.88, 0.92, 0.97), drifts, (0.14, 0.11, 0.05))


def brick(rng: np.random.Generator, size: int) -> Image:
    row, column = 14.0, 28.0
    v, u = np.mgrid[:size, :size].astype(np.float32) + rng.uniform(0, 28, (2, 1, 1)).astype(np.float32)
    line = np.floor(v / row)
    u = u + (line % 2) * column / 2
    edge = np.minimum.reduce([v % row, row - v % row, u % column, column - u % column])
    tone = rng.standard_normal((64, 64)).astype(np.float32)
    tone = tone[line.astype(int) % 64, np.floor(u / column).astype(int) % 64]
    stone = shade((0.66, 0.31, 0.23), 0.5 * tone + 0.5 * noise(rng, size, 8), (0.07, 0.05, 0.04))
    mortar = np.clip(1.9 - edge, 0.0, 1.0)[..., None]
    return np.asarray(stone * (1 - mortar) + mortar * np.array([0.80, 0.73, 0.66], np.float32), np.float32)


def night(rng: np.random.Generator, size: int) -> Image:
    sky = shade((0.10, 0.10, 0.26), noise(rng, size, 28), (0.07, 0.04, 0.12))
    points = np.zeros((size, size), np.float32)
    count = size * size // 260
    points[rng.integers(0, size, count), rng.integers(0, size, count)] = rng.uniform(4, 12, count)
    glow = np.asarray(np.clip(cv2.GaussianBlur(points, (0, 0), 1.3), 0, 0.9), np.float32)
    return shade((0, 0, 0), glow, (1.0, 0.97, 0.85)) + sky * (1 - glow[..., None])


TEXTURES: dict[str, Callable[[np.random.Generator, int], Image]] = {
    "grass": grass,
    "sand": sand,
    "sea": sea,
    "snow": snow,
    "brick": brick,
    "night": night,
}


def background(name: str, rng: np.random.Generator, size: int) -> Image:
    """A (size, size, 3) float32 RGB canvas in [0, 1], with a little colour jitter."""
    canvas = TEXTURES[name](rng, size) + rng.uniform(-0.03, 0.03, 3).astype(np.float32)
    return np.asarray(np.clip(canvas, 0.0, 1.0), np.float32)
