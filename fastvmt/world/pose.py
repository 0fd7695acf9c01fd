"""How a known sprite is posed in every frame: position, size, rotation and bending.

Optical flow loses points on the flat parts of a rotating or bending sprite. The sprite is known, so
its pose is fitted to the image instead: a cross-entropy search over the parameters of
:class:`fastvmt.world.motion.Pose`, frame after frame.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.trackers.dis import one_thread
from fastvmt.world.locate import ObjectPath, background_colours, working_frames
from fastvmt.world.motion import Pose

Float = NDArray[np.float32]
Array = NDArray[np.float64]

SIDE = 48
"""Shorter side of the frames that are fitted, pixels."""
REACH = np.array([0.03, 0.03, 0.06, 0.3, 0.25, 0.2, 0.3])
"""Standard deviation of the search: x, y (frame sides), log size, angle, log stretch, bend, nod (radians)."""
SAMPLES = 80
ELITES = 10
ROUNDS = 7
CALM = 0.003
"""Price of a squared change of ``REACH``, as a share of the sprite's energy: settles what symmetry leaves open."""
PLAIN = 0.006
"""Price of an angle, stretch, bend or nod of ``REACH``: among poses that look alike, the one with fewest."""


def pose_path(frames_THWC: Tensor, sprite_rgba: Float, path: ObjectPath) -> Pose:
    """The sprite's pose in uint8 RGB frames, in frame units as in the generated world.

    Args:
        frames_THWC: the video.
        sprite_rgba: premultiplied RGBA in [0, 1], square.
        path: where the sprite is, from :func:`fastvmt.world.locate.object_paths`; starts the search.
    """
    height, width = frames_THWC.shape[1:3]
    with one_thread():
        images, _ = working_frames(frames_THWC.cpu().numpy(), SIDE)
        centre, whiten = background_colours(images)
        images = ((images - centre) @ whiten).astype(np.float32)
        sprite = cv2.resize(sprite_rgba, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
        paint = ((sprite[..., :3] - sprite[..., 3:] * centre) @ whiten).astype(np.float32)
        start = (path.centres_T2[0] + 0.5 - np.array([width, height]) / 2) / min(height, width)
        now = np.array([*start, np.log(path.sizes_T[0] / min(height, width)), 0, 0, 0, 0])
        rng = np.random.default_rng(0)
        rows = []
        reach = REACH / 3  # a clip begins close to the upright sprite
        for image in images:
            now = fit(image, np.dstack([paint, sprite[..., 3]]), now, reach, rng)
            rows.append(now)
            reach = REACH
    return as_pose(np.array(rows))


def as_pose(rows_T7: Array) -> Pose:
    """Rows (x, y, log size, angle, log stretch, bend, nod) as a pose."""
    x, y, size, angle, stretch, bend, nod = rows_T7.T
    return Pose(np.stack([x, y], -1), np.exp(size), angle, np.exp(stretch), bend, nod)


def fit(image_HWC: Float, sprite_HWC: Float, start: Array, reach: Array, rng: np.random.Generator) -> Array:
    """The pose parameters (7,) near ``start`` under which the sprite explains the frame best."""
    mean = start
    spread = reach
    for _ in range(ROUNDS):
        trials = mean + spread * rng.standard_normal((SAMPLES, len(start)))
        trials[0] = mean
        price = CALM * (((trials - start) / reach) ** 2).sum(1) + PLAIN * np.abs(trials[:, 3:] / REACH[3:]).sum(1)
        worth = explained(image_HWC, sprite_HWC, trials) - price
        elite = trials[np.argsort(-worth, kind="stable")[:ELITES]]
        mean, spread = elite.mean(0), elite.std(0) + 0.02 * reach
    return mean


def explained(image_HWC: Float, sprite_HWC: Float, rows_N7: Array) -> Array:
    """(N,) share of the sprite's energy that each pose explains: 1 is a perfect rendering.

    The last channel of ``sprite_HWC`` is opacity m, the others are m S against a background of 0;
    the share is ``(2 <I, m S> - sum m |S|^2) / sum m |S|^2`` with the energy of the first pose.
    """
    height, width = image_HWC.shape[:2]
    side = min(height, width)
    x, y = (np.arange(width) + 0.5 - width / 2) / side, (np.arange(height) + 0.5 - height / 2) / side
    grid = np.stack(np.meshgrid(x, y), -1).astype(np.float32)
    each = np.arange(len(rows_N7))[:, None, None]
    pose = as_pose(rows_N7.astype(np.float32))
    where = pose.to_sprite(cast(Array, grid), cast(int, each))  # broadcasts to (N, H, W, 2), half the time in float32
    at = ((where + 0.5) * sprite_HWC.shape[0] - 0.5).astype(np.float32).reshape(-1, width, 2)
    layers = cv2.remap(sprite_HWC, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    layers = layers.reshape(len(rows_N7), height, width, -1)
    paint, mask = layers[..., :-1], layers[..., -1:]
    energy = (paint**2 / np.maximum(mask, 1e-2)).sum((1, 2, 3))
    return np.asarray((2 * (paint * image_HWC).sum((1, 2, 3)) - energy) / max(float(energy[0]), 1e-9), np.float64)
