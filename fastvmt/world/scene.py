"""Clips of the moving-emoji world, with captions, true tracks and masks, from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray

from fastvmt.settings import check_choice
from fastvmt.world.motion import CATEGORIES, KINDS, Camera, Pose, articulated, camera, moving, still
from fastvmt.world.texture import background
from fastvmt.world.vocabulary import BACKGROUNDS, OBJECTS, canonical_caption

CANVAS = 2.6
"""Side of the background canvas in frame sides: room for pans, zooms and rotations."""


@dataclass(frozen=True)
class Scene:
    """What is in a clip and how it moves; :func:`render` turns it into pixels."""

    objects: tuple[str, ...]
    background: str
    category: str
    motion: str
    poses: tuple[Pose, ...]
    camera: Camera
    texture_seed: int

    @property
    def caption(self) -> str:
        return canonical_caption(list(self.objects), self.background)


@dataclass(frozen=True)
class WorldClip:
    """A rendered scene. Coordinates are (x, y) pixels of the rendered frame."""

    scene: Scene
    frames_THWC: NDArray[np.uint8]
    masks_KTHW: NDArray[np.bool_]
    """Visible part of each object."""
    centres_KT2: NDArray[np.float32]
    """Each object's centre."""
    tracks_NT2: NDArray[np.float32]
    """Points on the objects and on the background, exact at every frame."""
    visible_NT: NDArray[np.bool_]
    owner_N: NDArray[np.int64]
    """Index of the object a track belongs to, or -1 for the background."""


@lru_cache(maxsize=len(OBJECTS))
def sprite(name: str) -> NDArray[np.float32]:
    """Premultiplied RGBA sprite (96, 96, 4) in [0, 1]."""
    data = resources.files("fastvmt.world").joinpath("sprites", f"{name}.png").read_bytes()
    bgra = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert bgra is not None  # the picture is part of the package
    rgba = np.ascontiguousarray((bgra.astype(np.float32) / 255)[..., [2, 1, 0, 3]], np.float32)
    rgba[..., :3] *= rgba[..., 3:]
    return rgba


def sample_scene(rng: np.random.Generator, frames: int, category: str | None = None) -> Scene:
    """Draw a scene. ``category`` is one of ``CATEGORIES`` (default: drawn, objects more often)."""
    if category is None:
        category = str(rng.choice(CATEGORIES, p=[0.36, 0.16, 0.3, 0.18]))
    check_choice("category", category, CATEGORIES)
    kind = str(rng.choice(KINDS[category]))
    count = 2 if category == "multi_object" or (category == "camera" and rng.random() < 0.25) else 1
    objects = tuple(str(name) for name in rng.choice(list(OBJECTS), count, replace=False))
    size = rng.uniform(0.40, 0.52) if count == 1 else rng.uniform(0.32, 0.40)
    sides = rng.permutation([-1, 1]) if count == 2 else [0]
    path = camera(rng, frames, kind if category == "camera" else "static")
    poses: tuple[Pose, ...]
    if category == "articulated":
        poses = (articulated(rng, frames, size, kind),)
    elif category == "camera":
        poses = tuple(
            still(
                frames,
                np.array(
                    [side * rng.uniform(0.18, 0.25) + rng.uniform(-0.1, 0.1) * (side == 0), rng.uniform(-0.15, 0.15)]
                ),
                size,
            )
            for side in sides
        )
    else:
        kinds = [kind, *rng.choice(KINDS["multi_object"], count - 1)]
        poses = tuple(moving(rng, frames, size, str(k), int(s)) for k, s in zip(kinds, sides, strict=True))
    place = str(rng.choice(list(BACKGROUNDS)))
    return Scene(objects, place, category, kind, poses, path, int(rng.integers(2**31)))


def pixel_grid(size: int) -> NDArray[np.float64]:
    """Pixel centres (size, size, 2) in frame units."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    return np.stack(np.meshgrid(axis, axis), -1)


def sample_texture(image: NDArray[np.float32], where: NDArray[np.float64], border: int) -> NDArray[np.float32]:
    """Bilinear lookup of a square image at points (H, W, 2) in [-0.5, 0.5]."""
    at = ((where + 0.5) * image.shape[0] - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=border))


def render(scene: Scene, size: int = 96) -> WorldClip:
    """Draw every frame at ``size`` x ``size`` pixels, with exact tracks and masks."""
    frames = len(scene.camera.zoom)
    count = len(scene.objects)
    canvas = background(scene.background, np.random.default_rng(scene.texture_seed), int(CANVAS * size))
    sprites = []
    for name, pose in zip(scene.objects, scene.poses, strict=True):
        side = int(np.clip(pose.size.max() * size * scene.camera.zoom.max() * 1.1, 8, 96))
        sprites.append(np.asarray(cv2.resize(sprite(name), (side, side), interpolation=cv2.INTER_AREA), np.float32))
    grid = pixel_grid(size)
    video = np.empty((frames, size, size, 3), np.uint8)
    masks = np.zeros((count, frames, size, size), bool)
    for t in range(frames):
        world = scene.camera.to_world(grid, t)
        image = sample_texture(canvas, world / CANVAS, cv2.BORDER_REFLECT_101)
        for k, (texture, pose) in enumerate(zip(sprites, scene.poses, strict=True)):
            layer = sample_texture(texture, pose.to_sprite(world, t), cv2.BORDER_CONSTANT)
            image = image * (1 - layer[..., 3:]) + layer[..., :3]
            masks[:k, t] &= layer[..., 3] < 0.5
            masks[k, t] = layer[..., 3] >= 0.5
        video[t] = np.clip(image * 255 + 0.5, 0, 255)
    return WorldClip(scene, video, masks, *true_tracks(scene, masks, size))


def true_tracks(
    scene: Scene, masks_KTHW: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
    """Centres (K, T, 2), tracks (N, T, 2), visibility (N, T) and owners (N,) of a scene."""
    count, frames = masks_KTHW.shape[:2]
    points, owners, on_top = [], [], []
    centres = np.empty((count, frames, 2))
    for k, (name, pose) in enumerate(zip(scene.objects, scene.poses, strict=True)):
        seeds = pixel_grid(9).reshape(-1, 2)
        seeds = seeds[sample_texture(sprite(name), seeds[None], cv2.BORDER_CONSTANT)[0, :, 3] > 0.9]
        placed = [pose.to_screen(seeds, t) for t in range(frames)]
        points.append(np.stack([scene.camera.to_screen(world, t) for t, world in enumerate(placed)], 1))
        # a nod folds the upper half over points of the lower one: there the pixel shows another point
        drawn = np.stack([pose.to_sprite(world, t) for t, world in enumerate(placed)], 1)
        on_top.append(np.isclose(drawn, seeds[:, None]).all(-1))
        owners += [k] * len(seeds)
        centre = np.zeros((1, 2))
        centres[k] = [scene.camera.to_screen(pose.to_screen(centre, t), t)[0] for t in range(frames)]
    seeds = scene.camera.to_world(pixel_grid(14).reshape(-1, 2), 0)
    points.append(np.stack([scene.camera.to_screen(seeds, t) for t in range(frames)], 1))
    owners += [-1] * len(seeds)
    tracks = (np.concatenate(points) + 0.5) * size - 0.5
    owner = np.array(owners)
    cell = np.rint(tracks).astype(int)
    inside = np.asarray(((cell >= 0) & (cell < size)).all(-1))
    x, y = np.moveaxis(cell.clip(0, size - 1), -1, 0)
    t = np.broadcast_to(np.arange(frames), x.shape)
    visible = inside & ~np.asarray(masks_KTHW.any(0))[t, y, x]
    for k in range(count):
        mine = owner == k
        visible[mine] = inside[mine] & masks_KTHW[k][t[mine], y[mine], x[mine]] & on_top[k]
    centres_px = ((centres + 0.5) * size - 0.5).astype(np.float32)
    return centres_px, tracks.astype(np.float32), visible, owner
