"""Which frame pairs carry the flow, and how much each one weighs.

FastVMT (arXiv 2602.05551), DiTFlow (arXiv 2412.07776, its equation number that of v2).
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor

from fastvmt.types import Pairs


def frame_pairs(frames: int, sf: int) -> Pairs:
    """Pairs (i, j) with i < j <= i + sf in order of i, then j (FastVMT: j in J(i)).

    Raises ``ValueError`` when there is none.
    """
    pairs = tuple((i, j) for i in range(frames) for j in range(i + 1, min(i + sf, frames - 1) + 1))
    if not pairs:
        raise ValueError(f"{frames} latent frame(s) have no pair within window.sf={sf}: motion needs at least two")
    return pairs


def all_pairs(frames: int) -> Pairs:
    """All ordered pairs (i, j) with i = j among them, in order of i, then j (DiTFlow)."""
    # DiTFlow, Eq. 4: i and j are any of the F frames
    return tuple((i, j) for i in range(frames) for j in range(frames))


def by_source(pairs: Pairs) -> list[tuple[int, range]]:
    """Runs of pairs from a frame i to consecutive frames j, in order: i and the range of its j."""
    runs = [list(run) for _, run in groupby(enumerate(pairs), key=lambda at: (at[1][0], at[1][1] - at[0]))]
    return [(run[0][1][0], range(run[0][1][1], run[-1][1][1] + 1)) for run in runs]


def sources_and_targets(pairs: Pairs, device: torch.device) -> tuple[Tensor, Tensor]:
    """(P,) int64 frames i and (P,) int64 frames j, sent to the device without waiting for it."""
    source_P, target_P = torch.tensor(pairs).to(device, non_blocking=True).unbind(1)
    return source_P, target_P


def pair_weights(pairs: Pairs, sf: int, alpha: float, device: torch.device | None = None) -> Tensor:
    """(P,) weights 1 - alpha (j - i - 1) / (sf - 1): neighbours weigh 1, the farthest 1 - alpha (FastVMT)."""
    distance_P = torch.tensor([float(j - i) for i, j in pairs])
    weight_P = 1 - alpha * (distance_P - 1) / max(sf - 1, 1)
    return weight_P.to(device, non_blocking=True)
