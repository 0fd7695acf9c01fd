"""The shape that all scores share: one value per video, averaged over videos."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

NAN_POLICIES = ("skip", "raise")


class PerVideoMetric(Metric):
    """Keeps (index, value) of every video; ``compute`` is the mean over distinct indices.

    Distributed samplers repeat cases to fill the last batch: the index tells repeats apart. NaN marks
    a video whose score is undefined: it is kept, counted and left out of the mean, or refused with
    ``nan_policy="raise"``.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    value: list[Tensor]
    index: list[Tensor]
    n_invalid: Tensor
    """NaN values recorded, repeats included."""

    def __init__(self, nan_policy: str = "skip", **kwargs: Any) -> None:
        super().__init__(compute_with_cache=False, **kwargs)  # record() would not empty the cache
        if nan_policy not in NAN_POLICIES:
            raise ValueError(f"nan_policy={nan_policy!r} must be one of {', '.join(NAN_POLICIES)}")
        self.nan_policy = nan_policy
        self.add_state("value", default=[], dist_reduce_fx="cat")
        self.add_state("index", default=[], dist_reduce_fx="cat")
        self.add_state("n_invalid", default=torch.tensor(0), dist_reduce_fx="sum")

    def record(self, values: Sequence[float], index: Sequence[int]) -> None:
        """Keep scores that were computed already, one per video, under the videos' indices."""
        if len(values) != len(index):
            raise ValueError(f"{len(values)} scores for {len(index)} indices: give one index per video")
        invalid = [i for i, value in zip(index, values, strict=True) if math.isnan(value)]
        if invalid and self.nan_policy == "raise":
            raise ValueError(
                f"{type(self).__name__} is undefined for videos {invalid}; nan_policy=skip leaves them out"
            )
        if invalid:
            warnings.warn(f"{type(self).__name__} is undefined for videos {invalid}: left out", stacklevel=2)
        self.value.append(torch.tensor(values, dtype=torch.float64, device=self.device).reshape(-1))
        self.index.append(torch.tensor(index, dtype=torch.int64, device=self.device).reshape(-1))
        self.n_invalid += len(invalid)
        self._update_count += 1  # else torchmetrics warns that nothing was recorded

    def per_sample(self) -> tuple[Tensor, Tensor]:
        """Distinct indices in ascending order and their values (the first recorded of each)."""
        if len(self.value) == 0:
            return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
        value, index = dim_zero_cat(self.value), dim_zero_cat(self.index)
        order = torch.argsort(index, stable=True)
        index, value = index[order], value[order]
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        return index[first], value[first]

    def compute(self) -> Tensor:
        """Mean over videos; NaN when no video has a score."""
        return self.per_sample()[1].nanmean()
