"""What experiments share: composing a configuration, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from fastvmt import compose
from fastvmt.results.columns import Scored, score_column
from fastvmt.results.statistics import compare


def composed(overrides: Sequence[str]) -> DictConfig:
    """A configuration without W&B; ``output_dir`` is among the overrides of whatever writes files."""
    return compose.composed(["logger=none", "output_dir=unused", *overrides])


def difference(records: Sequence[Scored], base: Sequence[Scored], score: str) -> tuple[float, float, float, int]:
    """Mean of paired differences to ``base``, its 95 % interval over references, and the number of cases."""
    result = compare(score_column(records, score), score_column(base, score))
    return result.mean, result.low, result.high, result.n
