"""The auxiliary loss of tiny-wan's training: labels against a known camera, the loss against its minimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from experiments.tiny_wan.matches import SPREAD, match_loss, points_of
from fastvmt.world.motion import Camera
from fastvmt.world.scene import Scene, sample_scene

GRID = 12


def panned(tokens_a_frame: float) -> Scene:
    """A still object under a camera that moves right by so many tokens from one latent frame to the next."""
    scene = sample_scene(np.random.default_rng(3), 9, "camera")
    pan = np.zeros((9, 2))
    pan[:, 0] = np.arange(9) / 2 * tokens_a_frame / GRID
    return replace(scene, camera=Camera(pan, np.ones(9), np.zeros(9)))


def labels(scene: Scene) -> torch.Tensor:
    return torch.from_numpy(points_of(scene, GRID)).float()[None].flatten(2, 3)


def keys_of(points_BFS3: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys whose product is minus the squared distance of owners and places over 2 SPREAD^2."""
    at = points_BFS3.flatten(1, 2) * torch.tensor([100.0, 1.0, 1.0])
    one, square = torch.ones_like(at[..., :1]), at.square().sum(-1, keepdim=True)
    factor = 1 / (2 * SPREAD**2)
    return torch.cat([2 * at, -square, -one], -1) * factor, torch.cat([at, one, square], -1)


def test_a_pan_by_whole_tokens_shifts_every_label() -> None:
    points = points_of(panned(2.0), GRID).astype(np.float32)
    assert points.shape == (5, GRID, GRID, 3)
    owner = points[..., 0]
    for f in range(4):
        np.testing.assert_array_equal(owner[f, :, 2:], owner[f + 1, :, :-2])
        np.testing.assert_allclose(points[f, :, 2:, 1:], points[f + 1, :, :-2, 1:], atol=0.02)


def test_true_matches_are_the_minimum() -> None:
    points = labels(sample_scene(np.random.default_rng(5), 9, "multi_object")).double()
    q, k = keys_of(points)
    q.requires_grad_()
    loss = match_loss(q, k, 1.0, points)
    (gradient,) = torch.autograd.grad(loss, q)
    shuffled = match_loss(q, k.roll(1, 1), 1.0, points)
    (wrong,) = torch.autograd.grad(shuffled, q)
    assert shuffled > loss + 1
    assert gradient.norm() < 1e-4 * wrong.norm()


def test_hidden_tokens_teach_nothing() -> None:
    points = labels(panned(4.0))
    q, k = keys_of(points)
    q.requires_grad_()
    (gradient,) = torch.autograd.grad(match_loss(q, k.roll(3, 1), 1.0, points), q)
    column = gradient.abs().sum(-1).reshape(5, GRID, GRID)[0].sum(0)
    assert column[-4:].gt(0).all()
    # the first column of the first frame leaves the picture at once and never comes back
    assert column[0] == 0
