"""The shape of whole trajectories: the discrete Frechet distance, and motion fidelity mixed with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastvmt.score.functional import motion_fidelity, support

EXACT = "donot_use_mm_for_euclid_dist"
"""The other way of torch loses small distances to rounding."""
FRAMES = 32
"""Trajectories are thinned to at most so many frames."""
TRACKS = 256
"""Tracks per side that trajectories are compared of."""
REACH = 0.1
"""Frechet distance, in diagonals, at which the similarity has fallen to 1 / e."""
ROWS = 32
"""Tracks of one side compared at a time with all of the other: bounds the memory."""


def discrete_frechet(a_PT2: Tensor, b_PS2: Tensor) -> Tensor:
    """Discrete Frechet distances (P,) between P pairs of trajectories (Eiter and Mannila, 1994), in their unit.

    The shortest leash for two walkers who each step through all positions of their trajectory in
    order, waiting at will: ``c(i, j) = max(d(i, j), min(c(i-1, j), c(i-1, j-1), c(i, j-1)))``. At least
    0. Raises ``ValueError`` for a trajectory without positions.

    Example:
        >>> a = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]])
        >>> discrete_frechet(a, a + torch.tensor([0.0, 3.0])).item()
        3.0
        >>> discrete_frechet(a, a.flip(1)).item()
        2.0
    """
    if a_PT2.shape[1] == 0 or b_PS2.shape[1] == 0:
        raise ValueError(f"trajectories need a position, got {a_PT2.shape[1]} and {b_PS2.shape[1]}")
    distance_TSP = torch.cdist(a_PT2, b_PS2, compute_mode=EXACT).permute(1, 2, 0).contiguous()
    above = distance_TSP[0].cummax(0).values
    for i in range(1, len(distance_TSP)):
        row = torch.empty_like(above)
        row[0] = torch.maximum(above[0], distance_TSP[i, 0])
        earlier = torch.minimum(above[1:], above[:-1])
        for j in range(1, len(row)):
            row[j] = torch.maximum(torch.minimum(earlier[j - 1], row[j - 1]), distance_TSP[i, j])
        above = row
    return above[-1]


def farthest_points(points_N2: Tensor, count: int) -> Tensor:
    """Indices of at most ``count`` points that cover the set: each next one is farthest from those taken.

    Starts at the point farthest from the mean.

    Example:
        >>> farthest_points(torch.tensor([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [4.9, 0.0]]), 2).tolist()
        [0, 2]
    """
    if len(points_N2) <= count:
        return torch.arange(len(points_N2), device=points_N2.device)
    taken = [int((points_N2 - points_N2.mean(0)).norm(dim=1).argmax())]
    nearest = (points_N2 - points_N2[taken[0]]).norm(dim=1)
    while len(taken) < count:
        taken.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (points_N2 - points_N2[taken[-1]]).norm(dim=1))
    return torch.tensor(taken, device=points_N2.device)


def sparse(points_NT2: Tensor, visible_NT: Tensor) -> tuple[Tensor, Tensor]:
    """At most 32 frames of at most 256 tracks that are long enough to compare and lie all over the frame."""
    frames = points_NT2.shape[1]
    index = torch.linspace(0, frames - 1, min(frames, FRAMES), device=points_NT2.device).round().long()
    usable = visible_NT[:, index].sum(1) > support(len(index))
    points = points_NT2[usable][:, index].float()
    visible = visible_NT[usable][:, index]
    seen = visible[..., None].float()
    centre = torch.where(visible[..., None], points, 0).sum(1) / seen.sum(1).clamp_min(1)
    chosen = farthest_points(centre, TRACKS)
    return points[chosen], visible[chosen]


def frechet_similarity(a_NT2: Tensor, b_MT2: Tensor, seen_a_NT: Tensor, seen_b_MT: Tensor) -> Tensor:
    """(N, M) exp(-dF / 0.1) of trajectories with a common start, in (0, 1]; -inf without a common stretch.

    Positions in diagonals. A pair is compared in the frames that show both, from the first of these
    on. Elsewhere its last position is held: repeated positions leave the distance as it is. What DeT
    (Shi et al., 2025) intends, see :func:`hybrid`.

    Example:
        >>> right, seen = 0.01 * torch.arange(9.0)[None, :, None] * torch.tensor([1.0, 0.0]), torch.ones(1, 9).bool()
        >>> round(frechet_similarity(2 * right, right + 0.5, seen, seen).item(), 3)  # exp(-0.08 / 0.1)
        0.449
    """
    frames = a_NT2.shape[1]
    time = torch.arange(frames, device=a_NT2.device)
    rows = [a_NT2.new_empty(0, len(b_MT2))]
    for first in range(0, len(a_NT2), ROWS):
        part = slice(first, first + ROWS)
        shared = seen_a_NT[part, None] & seen_b_MT[None]
        start = shared.int().argmax(-1, keepdim=True)
        hold = torch.where(shared, time, start).cummax(-1).values[..., None].expand(-1, -1, -1, 2)
        held = []
        for points in (a_NT2[part, None], b_MT2[None]):
            path = points.expand(*shared.shape, 2).gather(2, hold)
            held.append((path - path[:, :, :1]).flatten(0, 1))
        similarity = (-discrete_frechet(*held) / REACH).exp().view(shared.shape[:2])
        rows.append(torch.where(shared.sum(-1) > support(frames), similarity, -torch.inf))
    return torch.cat(rows)


def trajectory_recall(
    generated_NT2: Tensor,
    reference_MT2: Tensor,
    generated_visible_NT: Tensor,
    reference_visible_MT: Tensor,
    diagonal: float,
) -> float:
    """Mean over reference tracks of the best Frechet similarity in the generated video; in (0, 1], NaN without any.

    The global half of :func:`hybrid` (Shi et al., 2025); positions and ``diagonal`` in one unit.

    Example:
        >>> right, seen = torch.arange(9.0)[None, :, None] * torch.tensor([1.0, 0.0]), torch.ones(1, 9).bool()
        >>> round(trajectory_recall(2 * right, right, seen, seen, diagonal=100), 3)  # ends 8 pixels too far
        0.449
    """
    a, seen_a = sparse(generated_NT2 / diagonal, generated_visible_NT)
    b, seen_b = sparse(reference_MT2 / diagonal, reference_visible_MT)
    if len(a) == 0 or len(b) == 0:
        return math.nan
    best = frechet_similarity(a, b, seen_a, seen_b).amax(0)
    return float(best[best.isfinite()].mean())


def hybrid(
    generated_NT2: Tensor,
    reference_MT2: Tensor,
    generated_visible_NT: Tensor,
    reference_visible_MT: Tensor,
    diagonal: float,
    jitter: float = 0.0,
) -> float:
    """Half robust motion fidelity, half similarity of whole trajectories; in (-0.5, 1], NaN where either is.

    What DeT (Shi et al., 2025) intends with its mixture of local velocities and global shapes, with a
    true Frechet distance: 0.5 MF + 0.5 mean_b max_a exp(-dF(a, b) / 0.1), dF in diagonals. Arguments and
    errors are those of :func:`fastvmt.score.functional.motion_fidelity`.

    Example:
        >>> right = torch.arange(9.0)[None, :, None] * torch.tensor([1.0, 0.0])
        >>> seen = torch.ones(1, 9, dtype=torch.bool)
        >>> hybrid(right, right, seen, seen, diagonal=100)
        1.0
        >>> round(hybrid(2 * right, right, seen, seen, diagonal=100), 3)  # ends 8 pixels too far
        0.725
    """
    local = motion_fidelity(
        generated_NT2, reference_MT2, generated_visible_NT, reference_visible_MT, diagonal, jitter
    ).fidelity
    shapes = trajectory_recall(generated_NT2, reference_MT2, generated_visible_NT, reference_visible_MT, diagonal)
    return (local + shapes) / 2
