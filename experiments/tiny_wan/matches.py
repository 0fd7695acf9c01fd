"""Which tokens of two frames show the same point: the auxiliary loss on one block's queries and keys.

In a large video transformer, attention between frames finds corresponding points by itself after
millions of clips. A few ten thousand clips teach a small one far less, so its training is told
(in the spirit of Track4Gen, which supervises features with tracks). Only the training sees it.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from fastvmt.world.scene import Scene, pixel_grid, sample_texture, sprite

SPREAD = 0.5
"""Standard deviation of the wanted attention around the true match, in tokens."""
REACH = 1.0
"""A token whose nearest match in the other frame lies farther than this, in tokens, is hidden there."""
OBJECT_WEIGHT = 3.0
"""Weight of an object's token; a token of the background weighs 1."""


def points_of(scene: Scene, grid: int) -> np.ndarray:
    """What each token shows, (F, grid, grid, 3) float16: owner (0 the background, k + 1 object k) and
    place (x, y) in the owner's own frame, in tokens; latent frame f shows video frames up to 2f."""
    screen = pixel_grid(grid)
    zoom = float(scene.camera.zoom.mean())
    frames = []
    for t in range(0, len(scene.camera.zoom), 2):
        world = scene.camera.to_world(screen, t)
        shown = np.concatenate([np.zeros((grid, grid, 1)), world * zoom * grid], -1)
        for k, (name, pose) in enumerate(zip(scene.objects, scene.poses, strict=True)):
            at = pose.to_sprite(world, t)
            covered = sample_texture(sprite(name), at, cv2.BORDER_CONSTANT)[..., 3] > 0.5
            shown[covered, 0] = k + 1
            shown[covered, 1:] = at[covered] * float(pose.size.mean()) * zoom * grid
        frames.append(shown.astype(np.float16))
    return np.stack(frames)


def match_loss(q_BNE: Tensor, k_BNE: Tensor, scale: float, points_BFS3: Tensor) -> Tensor:
    """Cross entropy of attention from every token to every other frame's tokens against the true matches.

    Args:
        q_BNE, k_BNE: queries and keys before the rotary embedding, N = F S.
        scale: factor of their product; with it the AMF will be read.
        points_BFS3: from :func:`points_of`.
    """
    frames, cells = points_BFS3.shape[1:3]
    logits = torch.einsum("bne,bme->bnm", scale * q_BNE.float(), k_BNE.float())
    logits = logits.unflatten(2, (frames, cells)).unflatten(1, (frames, cells))
    owner, place = points_BFS3[..., 0].flatten(1), points_BFS3[..., 1:].flatten(1, 2)
    squared = torch.cdist(place, place).square() + 1e4 * (owner[:, :, None] != owner[:, None])
    squared = squared.unflatten(2, (frames, cells)).unflatten(1, (frames, cells))
    target = (-squared / (2 * SPREAD**2)).softmax(-1)
    other = ~torch.eye(frames, dtype=torch.bool, device=logits.device)[None, :, None]
    weight = (squared.amin(-1) < REACH**2) * other * (1 + (OBJECT_WEIGHT - 1) * (points_BFS3[..., :1] > 0))
    entropy = -(target * logits.log_softmax(-1)).sum(-1)
    return (weight * entropy).sum() / weight.sum().clamp(min=1)
