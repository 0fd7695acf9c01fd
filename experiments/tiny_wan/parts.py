"""What each token of a scene shows: the dense labels of the auxiliary loss.

A small diffusion transformer learns local texture long before it learns that an object has
one head and two ears. Telling a middle block which object, and which part of it, each token
shows (in the spirit of representation alignment, REPA) shortens that. Only the training sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from fastvmt.world.scene import Scene, pixel_grid, sample_texture, sprite
from fastvmt.world.vocabulary import OBJECTS

KINDS = 1 + len(OBJECTS)
"""Background, then the objects in the vocabulary's order."""


@dataclass(frozen=True)
class Parts:
    """Labels of N clips on the token grid (N, F, h, w)."""

    kind: Tensor
    """int64: 0 for background, else 1 + the object's index."""
    where: Tensor
    """(N, F, h, w, 2) float16. Object tokens: place in the sprite, [-0.5, 0.5]. Background tokens: how far
    the camera moved the point since the first frame, in frame sides."""

    def __getitem__(self, index: Tensor) -> Parts:
        return Parts(self.kind[index].long(), self.where[index].float())

    def to(self, device: str) -> Parts:
        return Parts(self.kind.to(device), self.where.to(device))

    def window(self, top: int, left: int, side: int) -> Parts:
        rows, columns = slice(top, top + side), slice(left, left + side)
        return Parts(self.kind[:, :, rows, columns], self.where[:, :, rows, columns])


def parts_of(scene: Scene, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (F, grid, grid) and places (F, grid, grid, 2); latent frame f shows video frames up to 2f."""
    screen = pixel_grid(grid)
    first = scene.camera.to_world(screen, 0)
    kinds, places = [], []
    for t in range(0, len(scene.camera.zoom), 2):
        world = scene.camera.to_world(screen, t)
        kind = np.zeros((grid, grid), np.uint8)
        where = world - first
        for name, pose in zip(scene.objects, scene.poses, strict=True):
            at = pose.to_sprite(world, t)
            covered = sample_texture(sprite(name), at, cv2.BORDER_CONSTANT)[..., 3] > 0.5
            kind[covered] = 1 + list(OBJECTS).index(name)
            where[covered] = at[covered]
        kinds.append(kind)
        places.append(where.astype(np.float16))
    return np.stack(kinds), np.stack(places)


def parts(scenes: list[Scene], grid: int) -> Parts:
    """Labels of every scene."""
    kinds, places = zip(*(parts_of(scene, grid) for scene in scenes), strict=True)
    return Parts(torch.from_numpy(np.stack(kinds)), torch.from_numpy(np.stack(places)))


class PartsHead(nn.Module):
    """Reads kind and place from the hidden states of one block, and scores them against the labels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.out = nn.Linear(width, KINDS + 4)

    def forward(self, hidden: Tensor, labels: Parts) -> Tensor:
        """Cross entropy of the kind plus squared errors of the places; hidden (B, F h w, C)."""
        logits, sprite_xy, camera_xy = self.out(self.norm(hidden.float())).split((KINDS, 2, 2), -1)
        kind, where = labels.kind.flatten(1), labels.where.flatten(1, 3)
        on_object = (kind > 0).float()[..., None]
        place = (sprite_xy - 4 * where).square() * on_object + (camera_xy - 4 * where).square() * (1 - on_object)
        return nn.functional.cross_entropy(logits.flatten(0, 1), kind.flatten()) + place.mean()
