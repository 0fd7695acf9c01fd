"""Which frame pairs carry the flow, and how much each one weighs."""

from __future__ import annotations

import torch
from torch import Tensor


def frame_pairs(frames: int, sf: int) -> Tensor:
    """Pairs (i, j) with i < j <= i + sf, as (P, 2) int64 in order of i, then j (FastVMT, Eq. of AMF)."""
    pairs = [(i, j) for i in range(frames) for j in range(i + 1, min(i + sf, frames - 1) + 1)]
    if not pairs:
        raise ValueError(f"{frames} latent frame(s) have no pair within window.sf={sf}: motion needs at least two")
    return torch.tensor(pairs)


def pair_weights(pairs_P2: Tensor, sf: int, alpha: float) -> Tensor:
    """(P,) weights 1 - alpha (j - i - 1) / (sf - 1): neighbours weigh 1, the farthest 1 - alpha."""
    distance = (pairs_P2[:, 1] - pairs_P2[:, 0]).float()
    return 1 - alpha * (distance - 1) / max(sf - 1, 1)
