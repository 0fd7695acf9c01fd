"""Motion Inversion: additive motion embeddings in a few blocks (arXiv 2403.20193), on a video transformer.

The original holds temporal attention, where the value table has one entry per position; here it has
one per token of the clip. Its inverted start is an option (``inversion.share=0.5``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.job import Job
from fastvmt.methods.tuned import Tuned, draw_noise, velocity_error
from fastvmt.settings import LARGEST_COUNT, check, check_choice, check_range
from fastvmt.tuning.adapter import Adapter
from fastvmt.tuning.draw import Draw, choose
from fastvmt.tuning.inversion import Inversion
from fastvmt.tuning.loop import Losses, Phases, Tuning
from fastvmt.tuning.losses import debiased, mean_square
from fastvmt.tuning.motion_embedding import MotionEmbeddings, temporal_difference
from fastvmt.types import PassCounter


class ValueTable(str, Enum):
    """What of the value table samples; queries and keys always keep theirs."""

    difference = "difference"
    """Differences between frames: motion without appearance."""
    none = "none"
    """No table: camera motion."""
    whole = "whole"
    """As tuned."""


class MotionInversion(Tuned):
    """Tables added to the modulated norm: m^QK before queries and keys, m^V before values."""

    name = "motion_inversion"
    kept = "motion"

    def __init__(
        self,
        tuning: Tuning,
        inversion: Inversion,
        blocks: list[int],
        value: str = "difference",
        pool: int = 1,
        debiased_loss: bool = False,
    ) -> None:
        super().__init__(tuning, inversion)
        check_choice("method.value", value, [kind.value for kind in ValueTable])
        check(bool(blocks) and min(blocks) >= 0, "method.blocks", blocks, "a list of 0-based blocks, at least one")
        check_range("method.pool", pool, 1, LARGEST_COUNT)
        self.blocks = sorted(set(blocks))
        self.value = ValueTable(value)
        self.pool = pool
        self.debiased_loss = debiased_loss

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        layout.check_block(self.blocks, "method.blocks")

    def tuning_passes(self, layout: Layout) -> PassCounter:
        n = self.tuning.iterations
        return PassCounter(n * layout.depth, n * (layout.depth - self.blocks[0]), n)

    def identity(self, job: Job) -> dict[str, object]:
        return {"blocks": self.blocks, "pool": self.pool, "debiased_loss": self.debiased_loss}

    def adapters(self, job: Job) -> dict[str, Adapter]:
        grid = job.backbone.layout.grid
        width = job.backbone.adapted_blocks[0].width
        return {self.kept: MotionEmbeddings.zeros(self.blocks, grid, width, self.pool, job.backbone.device)}

    def losses(self, job: Job, adapters: Mapping[str, Adapter]) -> Losses:
        def phases(choices: Draw) -> Phases:
            with adapters[self.kept].installed(job.backbone.adapted_blocks):
                _, error = velocity_error(job, job.reference, choices, draw_noise(job, choices))
                loss = mean_square(error)
                if self.debiased_loss:
                    loss = loss + mean_square(debiased(error, choose(choices.anchor, error.shape[2])))
                yield self.kept, loss

        return phases

    def sampler_adapter(self, job: Job, tensors: Mapping[str, Tensor]) -> Adapter:
        tables = dict(tensors)
        for name in [name for name in tensors if name.endswith(".value")]:
            if self.value is ValueTable.difference:
                tables[name] = temporal_difference(tables[name])
            elif self.value is ValueTable.none:
                del tables[name]
        return MotionEmbeddings(tables, job.backbone.layout.grid, job.backbone.device)
