"""How things move in the moving-emoji world: object poses and camera paths over time.

Lengths are in units of the frame side with the origin at the frame's centre, x to the
right and y down; angles in radians. Nothing here knows about pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CATEGORIES = ("single_object", "multi_object", "camera", "articulated")


@dataclass(frozen=True)
class Pose:
    """Where one sprite is in every frame; all arrays have length T (``position`` (T, 2))."""

    position: Array
    size: Array
    angle: Array
    stretch: Array
    """Width divided by height (area kept)."""
    bend: Array
    """Sideways shift of the top edge with the base held, in sprite sides; parabolic in height."""
    nod: Array
    """Rotation of the upper half about the sprite's centre."""

    def to_screen(self, points: Array, frame: int) -> Array:
        """Sprite points (N, 2) in [-0.5, 0.5] to world points (N, 2) at ``frame``."""
        u, v = points[:, 0].copy(), points[:, 1].copy()
        c, s = np.cos(self.nod[frame]), np.sin(self.nod[frame])
        upper = v < 0
        u[upper], v[upper] = (c * u - s * v)[upper], (s * u + c * v)[upper]
        u = u + self.bend[frame] * (0.5 - v) ** 2
        ratio = np.sqrt(self.stretch[frame])
        u, v = u * ratio * self.size[frame], v / ratio * self.size[frame]
        c, s = np.cos(self.angle[frame]), np.sin(self.angle[frame])
        return np.asarray(np.stack([c * u - s * v, s * u + c * v], -1) + self.position[frame])

    def to_sprite(self, points: Array, frame: int) -> Array:
        """The inverse of :meth:`to_screen` for points (..., 2)."""
        x, y = np.moveaxis(points - self.position[frame], -1, 0)
        c, s = np.cos(self.angle[frame]), np.sin(self.angle[frame])
        ratio = np.sqrt(self.stretch[frame])
        u = (c * x + s * y) / (ratio * self.size[frame])
        v = (c * y - s * x) * ratio / self.size[frame]
        u = u - self.bend[frame] * (0.5 - v) ** 2
        c, s = np.cos(self.nod[frame]), np.sin(self.nod[frame])
        back_u, back_v = c * u + s * v, c * v - s * u
        upper = back_v < 0
        return np.stack([np.where(upper, back_u, u), np.where(upper, back_v, v)], -1)


@dataclass(frozen=True)
class Camera:
    """A similarity per frame: screen = zoom * R(angle) (world - pan)."""

    pan: Array
    zoom: Array
    angle: Array

    def to_screen(self, points: Array, frame: int) -> Array:
        """World points (..., 2) to screen points."""
        x, y = np.moveaxis(points - self.pan[frame], -1, 0)
        c, s = np.cos(self.angle[frame]), np.sin(self.angle[frame])
        return np.asarray(np.stack([c * x - s * y, s * x + c * y], -1) * self.zoom[frame])

    def to_world(self, points: Array, frame: int) -> Array:
        """Screen points (..., 2) to world points."""
        x, y = np.moveaxis(points / self.zoom[frame], -1, 0)
        c, s = np.cos(self.angle[frame]), np.sin(self.angle[frame])
        return np.asarray(np.stack([c * x + s * y, c * y - s * x], -1) + self.pan[frame])


def still(frames: int, position: Array, size: float) -> Pose:
    """A sprite at rest."""
    one = np.ones(frames)
    where = np.tile(np.asarray(position, float), (frames, 1))
    return Pose(where, size * one, 0 * one, one, 0 * one, 0 * one)


def direction(rng: np.random.Generator, low: float, high: float) -> Array:
    """A random vector with length between ``low`` and ``high``."""
    angle = rng.uniform(0, 2 * np.pi)
    return rng.uniform(low, high) * np.array([np.cos(angle), np.sin(angle)])


def line(rng: np.random.Generator, t: Array) -> Array:
    return t[:, None] * direction(rng, 0.3, 0.6)


def curve(rng: np.random.Generator, t: Array) -> Array:
    middle, end = direction(rng, 0.2, 0.45), direction(rng, 0.3, 0.55)
    return 2 * (t * (1 - t))[:, None] * middle + (t**2)[:, None] * end


def bounce(rng: np.random.Generator, t: Array) -> Array:
    x = t * rng.uniform(0.2, 0.5) * rng.choice([-1, 1])
    return np.stack([x, -rng.uniform(0.2, 0.38) * np.abs(np.sin(np.pi * rng.choice([1, 1.5, 2]) * t))], -1)


def circle(rng: np.random.Generator, t: Array) -> Array:
    start = rng.uniform(0, 2 * np.pi)
    angle = start + rng.choice([-1, 1]) * rng.uniform(0.55, 1.0) * 2 * np.pi * t
    return rng.uniform(0.13, 0.22) * np.stack([np.cos(angle), np.sin(angle)], -1)


PATHS: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "line": line,
    "curve": curve,
    "bounce": bounce,
    "circle": circle,
}


def place(rng: np.random.Generator, path: Array, size: float, side: int = 0) -> Array:
    """Shift a path (T, 2) so that the sprite stays in the frame; ``side`` -1 / 1 leans it left / right."""
    reach = 0.5 - 0.42 * size
    low, high = -reach - path.min(0), reach - path.max(0)
    if side:
        low[0], high[0] = ((low[0] + high[0]) / 2, high[0]) if side > 0 else (low[0], (low[0] + high[0]) / 2)
    shift: Array = np.where(low < high, rng.uniform(np.minimum(low, high), np.maximum(low, high)), (low + high) / 2)
    return path + shift


def moving(rng: np.random.Generator, frames: int, size: float, kind: str, side: int = 0) -> Pose:
    """A sprite that travels along one of ``PATHS``, or grows or shrinks (``scale``)."""
    t = np.linspace(0, 1, frames)
    if kind == "scale":
        ratio = rng.uniform(1.7, 2.3) ** rng.choice([-1.0, 1.0])
        pose = still(frames, place(rng, np.zeros((1, 2)), size)[0] * 0.6, size)
        return replace(pose, size=size * 1.05 * ratio ** (t - (1.0 if ratio > 1 else 0.0)))
    pose = still(frames, np.zeros(2), size)
    return replace(pose, position=place(rng, PATHS[kind](rng, t), size, side))


def articulated(rng: np.random.Generator, frames: int, size: float, kind: str) -> Pose:
    """A sprite that stays and moves its parts: ``sway swing squash nod spin``."""
    t = np.linspace(0, 1, frames)
    pose = still(frames, place(rng, np.zeros((1, 2)), size)[0] * 0.7, size)
    wave = np.sin(2 * np.pi * rng.choice([0.5, 0.75, 1.0]) * t + rng.choice([0.0, np.pi / 2]))
    wave = (wave - wave[0]) * rng.choice([-1, 1])
    if kind == "sway":
        return replace(pose, bend=rng.uniform(0.25, 0.45) * wave)
    if kind == "squash":
        return replace(pose, stretch=np.exp(rng.uniform(0.3, 0.55) * wave))
    if kind == "nod":
        return replace(pose, nod=rng.uniform(0.35, 0.6) * wave)
    if kind == "swing":  # a pendulum about the sprite's top
        angle = rng.uniform(0.4, 0.7) * wave
        arm = 0.6 * size * np.stack([-np.sin(angle), np.cos(angle)], -1)
        return replace(pose, position=pose.position - arm[:1] + arm, angle=angle)
    return replace(pose, angle=rng.choice([-1, 1]) * rng.uniform(0.8, 1.7) * t)


def camera(rng: np.random.Generator, frames: int, kind: str) -> Camera:
    """A camera path: ``static pan zoom rotate``; the first frame of a zoom-out starts close."""
    t = np.linspace(0, 1, frames)
    path = Camera(np.zeros((frames, 2)), np.ones(frames), np.zeros(frames))
    if kind == "pan":
        return replace(path, pan=(t[:, None] - 0.5) * direction(rng, 0.28, 0.55))
    if kind == "zoom":
        ratio = rng.uniform(1.4, 1.9) ** rng.choice([-1.0, 1.0])
        return replace(path, zoom=ratio ** (t - 0.5))
    if kind == "rotate":
        return replace(path, angle=(t - 0.5) * rng.choice([-1, 1]) * rng.uniform(0.5, 1.1))
    return path


KINDS: dict[str, tuple[str, ...]] = {
    "single_object": ("line", "curve", "bounce", "circle", "scale"),
    "multi_object": ("line", "curve", "bounce", "circle"),
    "camera": ("pan", "zoom", "rotate"),
    "articulated": ("sway", "swing", "squash", "nod", "spin"),
}
"""Category -> kinds of motion."""
