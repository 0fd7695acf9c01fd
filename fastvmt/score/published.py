"""Motion fidelity as papers define it and as their code computes it: exact arithmetic, no repairs.

Comparable with published numbers only for equal tracker, point grid, number of frames and size. All
take positions alone: these formulas ignore visibility. N generated and M reference tracks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fastvmt.score.functional import CHUNK


def correlations(a_NTd: Tensor, b_MTd: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Mean over T of the products of two sets of vectors: (first row, (<= CHUNK, M)) piece by piece."""
    for first in range(0, len(a_NTd), CHUNK):
        yield first, a_NTd[first : first + CHUNK].flatten(1) @ b_MTd.flatten(1).T / a_NTd.shape[1]


def unit(vectors_NTd: Tensor, zero: float = 0.0) -> Tensor:
    """Vectors divided by their lengths, a vector of length 0 by ``zero``: NaN, or 0 with any other value."""
    lengths: Tensor = vectors_NTd.norm(dim=-1, keepdim=True)
    return vectors_NTd / lengths.where(lengths != 0, zero)


def velocity(points_NT2: Tensor) -> Tensor:
    """Differences between neighbouring frames (N, T-1, 2)."""
    return points_NT2[:, 1:] - points_NT2[:, :-1]


def check_frames(generated_NT2: Tensor, reference_MT2: Tensor, equal: bool) -> None:
    """Raise ``ValueError`` for fewer than two frames, or unequal numbers where they must be equal."""
    frames = generated_NT2.shape[1], reference_MT2.shape[1]
    if min(frames) < 2 or (equal and frames[0] != frames[1]):
        rule = "the same number of frames, at least 2" if equal else "at least 2 frames"
        raise ValueError(f"tracks must have {rule}, got {frames[0]} and {frames[1]}")


def paper(generated_NT2: Tensor, reference_MT2: Tensor) -> float:
    """Motion fidelity as written (Yatim et al., 2024, Section 5.1), halved; in [-1, 1].

    Mean over generated tracks of the best correlation with a reference track, and the reverse,
    averaged. A correlation is the mean cosine of simultaneous velocities, 0 where either rests. NaN
    without tracks. Raises ``ValueError`` for unequal or too few frames.

    Example:
        >>> right = torch.arange(5.0)[None, :, None] * torch.tensor([1.0, 0.0])
        >>> both = torch.cat([right, -right])
        >>> paper(right, both)  # half of the reference's motions are missing
        0.5
    """
    check_frames(generated_NT2, reference_MT2, equal=True)
    if len(generated_NT2) == 0 or len(reference_MT2) == 0:
        return math.nan
    a, b = (unit(velocity(points.float()), zero=1.0) for points in (generated_NT2, reference_MT2))
    rows = []
    columns = a.new_full((len(b),), -torch.inf)
    for _, corr in correlations(a, b):
        rows.append(corr.amax(1))
        columns = torch.maximum(columns, corr.amax(0))
    # SMM, Eq. 5, halved: 1 / m sum_t~ max_t corr(t, t~) + 1 / n sum_t max_t~ corr(t, t~)
    return float(torch.cat(rows).mean() + columns.mean()) / 2


def compat_smm(generated_NT2: Tensor, reference_NT2: Tensor) -> float:
    """The score of the code released with Space-Time Diffusion Features (Yatim et al., 2024).

    One-sided: mean over generated tracks of the best correlation with a reference track, after the
    identity matrix is subtracted, so that a point is hardly ever matched to its own grid index. In
    [-1, 1] for two or more tracks. One step without motion in either video makes it NaN. Raises
    ``ValueError`` for unequal numbers of tracks or frames.

    Example:
        >>> right = torch.arange(5.0)[None, :, None] * torch.tensor([1.0, 0.0])
        >>> compat_smm(right, right)  # the only partner is forbidden
        0.0
        >>> compat_smm(right.repeat(2, 1, 1), right.repeat(2, 1, 1))
        1.0
        >>> compat_smm(right.repeat(2, 1, 1), torch.cat([right, 0 * right]))
        nan
    """
    check_frames(generated_NT2, reference_NT2, equal=True)
    if len(generated_NT2) == 0 or len(reference_NT2) == 0:
        return math.nan
    if len(generated_NT2) != len(reference_NT2):
        raise ValueError(
            f"this score pairs grid points, got {len(generated_NT2)} generated and {len(reference_NT2)} reference ones"
        )
    best = []
    for first, corr in correlations(unit(velocity(generated_NT2.float())), unit(velocity(reference_NT2.float()))):
        row = torch.arange(len(corr), device=corr.device)
        corr[row, first + row] -= 1
        best.append(corr.amax(1))
    return float(torch.cat(best).mean())


def compat_ditflow(generated_NT2: Tensor, reference_NT2: Tensor) -> float:
    """The score of the code released with DiTFlow (Pondaven et al., 2025).

    :func:`compat_smm` of the first min(T) frames, in [-1, 1] for two or more tracks.

    Example:
        >>> right = (torch.arange(5.0)[None, :, None] * torch.tensor([1.0, 0.0])).repeat(2, 1, 1)
        >>> compat_ditflow(right, right[:, :3])
        1.0
    """
    check_frames(generated_NT2, reference_NT2, equal=False)
    frames = min(generated_NT2.shape[1], reference_NT2.shape[1])
    return compat_smm(generated_NT2[:, :frames], reference_NT2[:, :frames])


def compat_det(generated_NT2: Tensor, reference_MT2: Tensor, height: int, width: int) -> float:
    """The score of the code released with DeT (Shi et al., 2025), in [-1, 1]; positions in pixels.

    One-sided and without the identity matrix. Positions are divided by ``width`` and ``height``, which
    turns directions in frames that are not square, and each track's first position counts as a
    velocity. The longer video is thinned to the length of the shorter. The part on whole trajectories, which the
    released code leaves off by default, is left out. NaN where a step has no motion, and without tracks. Raises
    ``ValueError`` for fewer than two frames.

    Example:
        >>> right = 4 + torch.arange(5.0)[None, :, None] * torch.tensor([1.0, 0.0])
        >>> compat_det(right, right, 9, 16)
        1.0
    """
    check_frames(generated_NT2, reference_MT2, equal=False)
    if len(generated_NT2) == 0 or len(reference_MT2) == 0:
        return math.nan
    frames = min(generated_NT2.shape[1], reference_MT2.shape[1])
    size = torch.tensor([width, height], dtype=torch.float32, device=generated_NT2.device)
    a, b = (thinned(points.float() / size, frames) for points in (generated_NT2, reference_MT2))
    first = [unit(torch.cat([points[:, :1], velocity(points)], 1)) for points in (a, b)]
    return float(torch.cat([corr.amax(1) for _, corr in correlations(*first)]).mean())


def thinned(points_NT2: Tensor, frames: int) -> Tensor:
    """``frames`` of the T frames, evenly spaced and rounded down."""
    if points_NT2.shape[1] == frames:
        return points_NT2
    index = torch.linspace(0, points_NT2.shape[1] - 1, frames).to(torch.int64)
    return points_NT2[:, index.to(points_NT2.device)]
