"""The arithmetic of motion fidelity: tracks in, numbers out.

N are the generated video's tracks (or the reference's M), T frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

STATIC = 3e-4
"""A step shorter than this fraction of the frame's diagonal counts as no motion."""
FAST = 0.01
"""Mean speed, in diagonals per frame, from which a track has full weight in the dynamic score."""
STILL = 1e-4
"""Mean weight per track below which a video has no motion to speak of."""
LOW = 0.2
"""Share of comparable tracks of either video below which the score is to be read with care."""
CHUNK = 1024
"""Rows of a matrix over pairs of tracks computed at a time: bounds the memory."""


@dataclass(frozen=True)
class MotionScores:
    """Motion fidelity of one generated video and the numbers needed to read it."""

    fidelity: float
    """Mean of precision and recall, in [-1, 1]; NaN without comparable tracks."""
    precision: float
    """How well each generated track is explained by some reference track."""
    recall: float
    """How well each reference track is found in the generated video."""
    dynamic: float
    """The same with tracks weighted by their speed; NaN when the reference is still."""
    coverage_generated: float
    """Share of the generated tracks that had a comparable partner."""
    coverage_reference: float
    static_generated: float
    """Share of the visible steps without motion."""
    static_reference: float
    speed_generated: float
    """Mean speed of visible steps, diagonals per frame."""
    speed_reference: float
    low_texture: bool = False
    """A video had too little texture to place its points well."""

    @property
    def low_coverage(self) -> bool:
        """Fewer than a fifth of one video's tracks had a comparable partner, or there were none."""
        return not (self.coverage_generated >= LOW and self.coverage_reference >= LOW)


@dataclass(frozen=True)
class Steps:
    """The velocities of tracks, split into what a correlation needs."""

    moving_NTd: Tensor
    """Unit velocities, 0 where static or invisible; (N, T-1, 2)."""
    static_NT: Tensor
    """1 where visible and static; (N, T-1)."""
    seen_NT: Tensor
    """1 where visible at both ends of the step; (N, T-1)."""
    speed_N: Tensor
    """Mean speed of visible steps, diagonals per frame."""


def steps(points_NT2: Tensor, visible_NT: Tensor, diagonal: float, jitter: float = 0.0) -> Steps:
    """Velocities relative to the frame's ``diagonal``; a step below ``jitter`` is static (same unit).

    A position that is not finite counts as lost.

    Example:
        >>> tracks = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]]])  # moves by 5 pixels, then rests
        >>> parts = steps(tracks, torch.ones(1, 3, dtype=torch.bool), diagonal=100)
        >>> parts.static_NT.tolist(), round(parts.speed_N.item(), 3)
        ([[0.0, 1.0]], 0.025)
    """
    least = max(STATIC, jitter / diagonal)
    velocity = (points_NT2[:, 1:] - points_NT2[:, :-1]).float() / diagonal
    seen = (visible_NT[:, 1:] & visible_NT[:, :-1] & velocity.isfinite().all(-1)).float()
    velocity = torch.where(seen.bool()[..., None], velocity, torch.zeros_like(velocity))
    speed = velocity.norm(dim=-1)
    static = (speed < least).float() * seen
    direction = velocity / speed.clamp_min(least)[..., None] * (seen - static)[..., None]
    mean_speed = speed.sum(1) / seen.sum(1).clamp_min(1)
    return Steps(direction, static, seen, mean_speed)


def support(frames: int) -> int:
    """Steps that two tracks must share to be compared: max(8, (T-1) // 3), or T // 2 for T < 12.

    Example:
        >>> [support(frames) for frames in (9, 24, 81)]
        [4, 8, 26]
    """
    return frames // 2 if frames < 12 else max(8, (frames - 1) // 3)


def best_partners(a: Steps, b: Steps) -> tuple[Tensor, Tensor]:
    """Best correlation of each track of ``a`` in ``b`` and the reverse; -inf without a valid partner.

    corr(a, b) = sum_t w_a w_b (<d_a, d_b> + s_a s_b) / sum_t w_a w_b: the cosine where both move,
    1 where both rest, 0 where one does.
    """
    least = support(a.seen_NT.shape[1] + 1)
    rows = []
    columns = b.seen_NT.new_full((len(b.seen_NT),), -torch.inf)
    for first in range(0, len(a.seen_NT), CHUNK):
        part = slice(first, first + CHUNK)
        agreement = a.moving_NTd[part].flatten(1) @ b.moving_NTd.flatten(1).T + a.static_NT[part] @ b.static_NT.T
        shared = a.seen_NT[part] @ b.seen_NT.T
        corr = torch.where(shared >= least, agreement / shared.clamp_min(1), -torch.inf)
        rows.append(corr.amax(1))
        columns = torch.maximum(columns, corr.amax(0))
    return torch.cat(rows), columns


def weighted_mean(value_N: Tensor, weight_N: Tensor) -> float:
    """Mean over finite values; NaN when they weigh nothing."""
    weight = weight_N * value_N.isfinite()
    total = weight.sum()
    return float((weight * value_N.nan_to_num(neginf=0.0)).sum() / total) if total > 0 else math.nan


def check_tracks(points_NT2: Tensor, visible_NT: Tensor, what: str) -> None:
    """Raises ``ValueError`` unless points are (N, T, 2) and their visibility bool (N, T)."""
    fits = points_NT2.ndim == 3 and points_NT2.shape[2] == 2 and points_NT2.shape[:2] == visible_NT.shape
    if not fits or visible_NT.dtype != torch.bool:
        shapes = f"{tuple(points_NT2.shape)} with {visible_NT.dtype} {tuple(visible_NT.shape)}"
        raise ValueError(f"{what} tracks are (N, T, 2) with bool visibility (N, T), got {shapes}")


def motion_fidelity(
    generated_NT2: Tensor,
    reference_MT2: Tensor,
    generated_visible_NT: Tensor,
    reference_visible_MT: Tensor,
    diagonal: float,
    jitter: float = 0.0,
) -> MotionScores:
    """Motion fidelity (Yatim et al., 2024, Section 5.1), robust to still, lost and noisy tracks; in [-1, 1].

    Args:
        generated_NT2, reference_MT2: tracks (x, y) of the same T frames, in any isotropic unit.
        generated_visible_NT, reference_visible_MT: bool.
        diagonal: of the frame, in the tracks' unit; both videos have the same size.
        jitter: the tracker's noise per step; shorter steps are static, like those below 3e-4 diagonals.

    Precision is the mean over generated tracks of the best correlation with a reference track, recall
    the reverse, and fidelity their mean. Tracks without a partner that shares enough visible steps
    are left out and lower the coverage. The dynamic score weighs tracks by min(speed, 0.01); a still
    generated video then has precision 0, as nothing in it moves like the reference.

    The chance level depends on T (random walks, best of 3025: 0.51 at T = 24, 0.28 at T = 81): compare
    scores of one T only. Raises ``ValueError`` for other shapes or types, unequal or too few frames or a
    diagonal that is not positive.

    Example:
        >>> right = torch.arange(9.0)[None, :, None] * torch.tensor([1.0, 0.0])
        >>> seen = torch.ones(1, 9, dtype=torch.bool)
        >>> motion_fidelity(right, right, seen, seen, diagonal=100).fidelity
        1.0
        >>> motion_fidelity(-right, right, seen, seen, diagonal=100).fidelity
        -1.0
    """
    check_tracks(generated_NT2, generated_visible_NT, "generated")
    check_tracks(reference_MT2, reference_visible_MT, "reference")
    frames = generated_NT2.shape[1], reference_MT2.shape[1]
    if frames[0] != frames[1] or frames[0] < 2:
        raise ValueError(f"tracks must have the same number of frames, at least 2, got {frames[0]} and {frames[1]}")
    if not diagonal > 0:
        raise ValueError(f"diagonal={diagonal} must be above 0")
    a = steps(generated_NT2, generated_visible_NT, diagonal, jitter)
    b = steps(reference_MT2, reference_visible_MT, diagonal, jitter)
    return scores_of_steps(a, b)


def scores_of_steps(a: Steps, b: Steps) -> MotionScores:
    """:func:`motion_fidelity` of generated (a) and reference (b) tracks that were split into steps."""
    if len(a.speed_N) == 0 or len(b.speed_N) == 0:
        rows, columns = torch.full_like(a.speed_N, -torch.inf), torch.full_like(b.speed_N, -torch.inf)
    else:
        rows, columns = best_partners(a, b)
    precision = weighted_mean(rows, torch.ones_like(rows))
    recall = weighted_mean(columns, torch.ones_like(columns))
    return MotionScores(
        fidelity=(precision + recall) / 2,
        precision=precision,
        recall=recall,
        dynamic=dynamic_fidelity(rows, columns, a.speed_N, b.speed_N),
        coverage_generated=_share(rows.isfinite().float(), torch.ones_like(rows)),
        coverage_reference=_share(columns.isfinite().float(), torch.ones_like(columns)),
        static_generated=_share(a.static_NT, a.seen_NT),
        static_reference=_share(b.static_NT, b.seen_NT),
        speed_generated=_share(a.speed_N, (a.seen_NT.sum(1) > 0).float()),
        speed_reference=_share(b.speed_N, (b.seen_NT.sum(1) > 0).float()),
    )


def dynamic_fidelity(rows_N: Tensor, columns_M: Tensor, speed_N: Tensor, speed_M: Tensor) -> float:
    """Fidelity with tracks weighted by min(speed, 0.01), in [-1, 1]; NaN when the reference is still.

    Own definition, for static cameras, whose background outweighs what moves.

    Example:
        >>> best = torch.tensor([1.0, 0.0])  # one track agrees, one does not
        >>> round(dynamic_fidelity(best, best, torch.tensor([0.008, 0.002]), torch.tensor([0.008, 0.002])), 3)
        0.8
    """
    generated, reference = speed_N.clamp_max(FAST), speed_M.clamp_max(FAST)
    if len(reference) == 0 or len(generated) == 0 or reference.mean() < STILL:
        return math.nan
    comparable = bool(rows_N.isfinite().any())
    still = bool(generated.mean() < STILL)
    precision = 0.0 if still and comparable else weighted_mean(rows_N, generated)
    return (precision + weighted_mean(columns_M, reference)) / 2


def _share(part: Tensor, whole: Tensor) -> float:
    total = float(whole.sum())
    return float((part * (whole > 0)).sum()) / total if total > 0 else math.nan
