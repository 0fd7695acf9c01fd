"""FastVMT's two losses (arXiv 2602.05551): attention motion flow and corresponding windows."""

from __future__ import annotations

from torch import Tensor

from fastvmt.motion.pairs import by_source
from fastvmt.settings import Reduction
from fastvmt.types import MotionField, Pairs


def amf_loss(
    generated: MotionField, reference: MotionField, weight_P: Tensor, reduction: Reduction = Reduction.mean
) -> Tensor:
    """Weighted squared distance of two motion fields in tokens squared, mean over pairs, mean or sum over tokens.

    The reference is a constant. Zero for identical fields. Raises ``ValueError`` when the fields
    belong to different grids or pairs.
    """
    if generated.grid != reference.grid or generated.pairs != reference.pairs:
        raise ValueError(
            f"motion fields do not belong together: generated {len(generated.pairs)} pairs on grid "
            f"{generated.grid}, reference {len(reference.pairs)} pairs on grid {reference.grid}, "
            "or the pairs differ"
        )
    # FastVMT, Sec. 3.3: L_AMF = 1 / (P S) sum_ij w_(j - i) sum_s |Delta_ref(s) - Delta_gen(s)|^2; a sum has no 1 / S
    squared_PS = (generated.flow_PS2 - reference.flow_PS2.detach()).square().sum(-1)
    mean = (weight_P[:, None] * squared_PS).mean()
    return mean if reduction is Reduction.mean else mean * squared_PS.shape[1]


def window_loss(k_mean_PTE: Tensor, pairs: Pairs) -> Tensor:
    """How much the mean key of corresponding windows changes from target frame to target frame.

    For every source frame i with at least two targets: the mean over tiles and consecutive targets
    of the squared distance between the windows' mean keys; then the mean over those frames. Zero
    when no frame has two targets (window.sf = 1).
    """
    # FastVMT, Sec. 3.3: L_win = mean_i mean_p 1 / (J - 1) sum_t |Kbar_(i -> j_t+1)(p) - Kbar_(i -> j_t)(p)|^2
    terms = [(k_JTE[1:] - k_JTE[:-1]).square().sum(-1).mean() for k_JTE in with_two_targets(k_mean_PTE, pairs)]
    return sum(terms, k_mean_PTE.new_zeros(())) / max(len(terms), 1)


def with_two_targets(x_PTE: Tensor, pairs: Pairs) -> list[Tensor]:
    """The rows (J, T, E) of every source frame that has J >= 2 targets."""
    rows = x_PTE.split([len(targets) for _, targets in by_source(pairs)])
    return [x_JTE for x_JTE in rows if len(x_JTE) > 1]
