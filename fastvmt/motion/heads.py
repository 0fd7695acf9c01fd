"""From attention heads to one query and one key per token: FastVMT (arXiv 2602.05551), DiTFlow (2412.07776 v2)."""

from __future__ import annotations

from torch import Tensor

from fastvmt.settings import HeadReduce


def reduce_heads(q_FSND: Tensor, k_FSND: Tensor, how: HeadReduce) -> tuple[Tensor, Tensor, float]:
    """Queries and keys (F, S, E), and the scale by which their product becomes the logits.

    ``mean_qk``: E = D, means over the heads. ``mean_logit``: E = N D, and the scaled product is
    the mean of the heads' logits. The scale includes the usual 1 / sqrt(D).
    """
    # DiTFlow, Sec. 4.1, has mean_qk: (mean_n q_n) (mean_n k_n) / sqrt(D), as in its Eq. 3
    # its authors' code has mean_logit: (1 / N) sum_n q_n k_n / sqrt(D)
    heads, width = q_FSND.shape[-2:]
    if how is HeadReduce.mean_qk:
        return q_FSND.mean(-2), k_FSND.mean(-2), width**-0.5
    return q_FSND.flatten(-2), k_FSND.flatten(-2), width**-0.5 / heads
