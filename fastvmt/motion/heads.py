"""From attention heads to one query and one key per token."""

from __future__ import annotations

from torch import Tensor

from fastvmt.settings import HeadReduce


def reduce_heads(q_FSND: Tensor, k_FSND: Tensor, how: HeadReduce) -> tuple[Tensor, Tensor, float]:
    """Queries and keys (F, S, E), and the scale by which their product becomes the logits.

    ``mean_qk``: E = D, means over the heads. ``mean_logit``: E = N D, and the scaled product is
    the mean of the heads' logits. The scale includes the usual 1 / sqrt(D).
    """
    heads, width = q_FSND.shape[-2:]
    if how is HeadReduce.mean_qk:
        return q_FSND.mean(-2), k_FSND.mean(-2), width**-0.5
    return q_FSND.flatten(-2), k_FSND.flatten(-2), width**-0.5 / heads
