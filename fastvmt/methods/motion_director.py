"""MotionDirector: appearance and motion in two sets of low-rank adapters (arXiv 2310.08465).

The original's temporal layers do not exist in a video transformer: both sets adapt self-attention,
told apart by what they learn from. The spatial set sees single frames, encoded as images; the
temporal set sees the clip. Only the temporal set samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.job import Job
from fastvmt.methods.tuned import Tuned, draw_noise, velocity_error
from fastvmt.settings import LARGEST_COUNT, check_range
from fastvmt.tuning.adapter import Adapter
from fastvmt.tuning.draw import Draw, choose
from fastvmt.tuning.inversion import Inversion
from fastvmt.tuning.loop import Losses, Phases, Tuning
from fastvmt.tuning.lora import LoraSet
from fastvmt.tuning.losses import debiased, mean_square
from fastvmt.types import PassCounter, Video

SPATIAL, TEMPORAL = "spatial", "temporal"


class MotionDirector(Tuned):
    """Per iteration: a step of the spatial set on one frame, unless skipped, then of the temporal set on the clip."""

    name = "motion_director"
    kept = TEMPORAL

    def __init__(
        self,
        tuning: Tuning,
        inversion: Inversion,
        rank: int = 32,
        dropout: float = 0.1,
        skip_spatial: float = 0.2,
        feed_forward: bool = False,
        noise_error: bool = False,
    ) -> None:
        super().__init__(tuning, inversion)
        check_range("method.rank", rank, 1, LARGEST_COUNT)
        check_range("method.dropout", dropout, 0, 1, below=True)
        check_range("method.skip_spatial", skip_spatial, 0, 1)
        self.rank = rank
        self.dropout = dropout
        self.skip_spatial = skip_spatial
        self.noise_error = noise_error
        self.feed_forward = feed_forward

    def skips(self, choices: Draw) -> bool:
        """Whether an iteration leaves the spatial set out, of both its losses."""
        return choices.coin < self.skip_spatial

    def tuning_passes(self, layout: Layout) -> PassCounter:
        """One over the clip per iteration, and one over a single frame unless that is skipped."""
        frames = sum(not self.skips(choices) for choices in self.tuning.draws())
        n = self.tuning.iterations + frames
        blocks = n * layout.depth
        images = frames * layout.depth
        return PassCounter(blocks, blocks, n, image_forwards=images, image_backwards=images)

    def identity(self, job: Job) -> dict[str, object]:
        return {
            "frames": job.case.reference.frames_THWC,
            "rank": self.rank,
            "input_dropout": self.dropout,
            "skip_spatial": self.skip_spatial,
            "feed_forward": self.feed_forward,
            "noise_error": self.noise_error,
        }

    def adapters(self, job: Job) -> dict[str, Adapter]:
        blocks = job.backbone.adapted_blocks
        seed = self.tuning.seed
        return {
            group: LoraSet.initial(
                blocks, self.feed_forward, self.rank, 2 * seed + i, job.backbone.device, self.dropout
            )
            for i, group in enumerate((SPATIAL, TEMPORAL))
        }

    def losses(self, job: Job, adapters: Mapping[str, Adapter]) -> Losses:
        clip = job.case.reference
        blocks = job.backbone.adapted_blocks
        factor = job.backbone.layout.temporal_factor

        @cache
        def image(frame: int) -> Tensor:
            return job.backbone.encode(Video(clip.frames_THWC[frame : frame + 1], clip.fps))

        def weight(choices: Draw) -> float:
            return (1 - choices.sigma) ** 2 if self.noise_error else 1.0

        def spatial_loss(choices: Draw, noise: Tensor) -> Tensor:
            frame = choose(choices.frame, len(clip.frames_THWC))
            latent_frame = -(-frame // factor)
            noise = noise[:, :, latent_frame : latent_frame + 1]
            # MotionDirector, Eq. 4, of the velocity: one frame's error
            _, error = velocity_error(job, image(frame), choices, noise)
            return weight(choices) * mean_square(error)

        def temporal_loss(choices: Draw, noise: Tensor) -> Tensor:
            _, error = velocity_error(job, job.reference, choices, noise)
            anchor = choose(choices.anchor, error.shape[2])
            # MotionDirector, Eq. 7: the loss of the clip's error and, Eq. 6, that of its debiased form
            return weight(choices) * (mean_square(error) + mean_square(debiased(error, anchor)))

        def phases(choices: Draw) -> Phases:
            noise = draw_noise(job, choices)
            if self.skips(choices):
                with adapters[TEMPORAL].installed(blocks):
                    yield TEMPORAL, temporal_loss(choices, noise)
                return
            with adapters[SPATIAL].installed(blocks):
                yield SPATIAL, spatial_loss(choices, noise)
                with adapters[TEMPORAL].installed(blocks):
                    yield TEMPORAL, temporal_loss(choices, noise)

        return phases

    def sampler_adapter(self, job: Job, tensors: Mapping[str, Tensor]) -> Adapter:
        return LoraSet(tensors, job.backbone.adapted_blocks, job.backbone.device)
