"""MOFT, motion features (arXiv 2405.14864), as DiTFlow's authors carry them to a video transformer.

Numbers of equations and lines are those of the paper at NeurIPS 2024.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fastvmt.methods.guided import BlockGuided, OwnNumbers
from fastvmt.methods.job import Job
from fastvmt.motion.moft import moft_loss, motion_channels, motion_part
from fastvmt.settings import check_range, check_seed


@dataclass(kw_only=True)
class MOFT(BlockGuided, OwnNumbers):
    """Match hidden features after a block, less their temporal mean, on the channels that move most.

    The channels come from the reference: the ``share`` with the largest entries of the first right
    singular vector; a departure: their number is rounded, in DiTFlow's authors' code truncated. The reference is
    read at ``reference_noise`` at most (0: clean) with the null text.
    """

    name = "moft"
    stops_after = 1

    block: int
    share: float
    reference_noise: float
    reference_seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("method.share", self.share, 0, 1, above=True)
        check_range("method.reference_noise", self.reference_noise, 0, 1)
        check_seed("method.reference_seed", self.reference_seed)
        self.noisiest = self.reference_noise

    def reference_features(self, job: Job, sigma: float) -> dict[str, Tensor]:
        """``channels`` and the reference's ``motion`` (F, S, channels) on them, cached on disk."""
        level = self.read_at(sigma)

        def compute() -> dict[str, Tensor]:
            noisy = job.noised_reference(level, self.reference_seed)
            motion = motion_part(job.backbone.hidden(noisy, level, job.null_text, self.block))
            channels = motion_channels(motion, self.share)
            # MOFT, Eq. 2: the motion on the channels that carry it
            return {"channels": channels, "motion": motion[..., channels]}

        return job.stored(
            compute, kind="moft", sigma=round(level, 6), block=self.block, seed=self.reference_seed, share=self.share
        )

    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        reference = self.reference_features(job, sigma)

        def loss(x: Tensor) -> Tensor:
            # MOFT, Alg. 1, lines 2 to 4
            motion = motion_part(job.backbone.hidden(x, sigma, job.text, self.block))
            return moft_loss(motion[..., reference["channels"]], reference["motion"])

        return loss
