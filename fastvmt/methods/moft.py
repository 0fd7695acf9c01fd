"""MOFT, motion features (arXiv 2405.14864), as DiTFlow's authors carry them to a video transformer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fastvmt.guidance.optimisation import Optimisation
from fastvmt.methods.guided import BlockGuided
from fastvmt.methods.job import Job
from fastvmt.motion.moft import moft_loss, motion_channels, motion_part
from fastvmt.settings import LARGEST_SEED, check_range


class MOFT(BlockGuided):
    """Match hidden features after a block, less their temporal mean, on the channels that move most.

    The channels come from the reference: the ``share`` with the largest entries of the first right
    singular vector; a departure: their number is rounded, in DiTFlow's authors' code truncated. The reference is
    read at ``reference_noise`` at most (0: clean) with the null text.
    """

    name = "moft"
    stops_after = 1

    def __init__(
        self,
        *,
        share: float,
        block: int,
        reference_noise: float,
        reference_seed: int,
        fraction: float,
        iterations: int,
        lr: float,
        lr_end: float,
    ) -> None:
        super().__init__(block, Optimisation(fraction, iterations, lr, lr_end))
        check_range("method.share", share, 0, 1, above=True)
        check_range("method.reference_noise", reference_noise, 0, 1)
        self.share = share
        self.reference_noise = reference_noise
        check_range("method.reference_seed", reference_seed, 0, LARGEST_SEED)
        self.reference_seed = reference_seed

    def reference_features(self, job: Job, sigma: float) -> dict[str, Tensor]:
        """``channels`` and the reference's ``motion`` (F, S, channels) on them, cached on disk."""
        level = min(sigma, self.reference_noise)

        def compute() -> dict[str, Tensor]:
            noisy = job.noised_reference(level, self.reference_seed)
            motion = motion_part(job.backbone.hidden(noisy, level, job.null_text, self.block))
            channels = motion_channels(motion, self.share)
            return {"channels": channels, "motion": motion[..., channels]}

        return job.stored(
            compute, kind="moft", sigma=round(level, 6), block=self.block, seed=self.reference_seed, share=self.share
        )

    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        reference = self.reference_features(job, sigma)

        def loss(x: Tensor) -> Tensor:
            motion = motion_part(job.backbone.hidden(x, sigma, job.text, self.block))
            return moft_loss(motion[..., reference["channels"]], reference["motion"])

        return loss
