"""What a transfer comes to: a video with its record, or the record of why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fastvmt.divergence import Diverged
from fastvmt.results.case_record import CaseRecord
from fastvmt.types import TransferResult, Video


@dataclass(frozen=True)
class Transfer:
    """A finished transfer: what was generated, and the record of it."""

    result: TransferResult
    record: CaseRecord

    @property
    def video(self) -> Video:
        """What was generated."""
        return self.result.video

    @property
    def latents(self) -> Tensor:
        """Its latents (1, C, F, H', W')."""
        return self.result.latents_BCFHW

    @property
    def scores(self) -> dict[str, float]:
        """By column; NaN is missing."""
        return self.record.scores

    @property
    def seconds(self) -> dict[str, float]:
        """Per stage, and their sum as ``total``; beside them ``reference_kept``."""
        return self.record.seconds

    @property
    def trace(self) -> list[dict[str, float]]:
        """One row per inner iteration: step, iteration, sigma, loss, grad_norm, reused, and what the method adds."""
        return self.result.trace


@dataclass(frozen=True)
class DivergedCase:
    """A transfer that ended because its numbers left their range."""

    error: Diverged
    record: CaseRecord
    trace: list[dict[str, float]]
    """As far as it came."""
