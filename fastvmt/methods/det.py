"""DeT: temporal convolutions beside every self-attention, and a loss along point tracks (arXiv 2503.17350)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from fastvmt.methods.job import Job
from fastvmt.methods.tuned import Tuned, draw_noise, velocity_error
from fastvmt.settings import LARGEST_COUNT, LARGEST_WEIGHT, check_choice, check_range
from fastvmt.trackers.base import Tracker
from fastvmt.tuning.adapter import Adapter
from fastvmt.tuning.draw import Draw
from fastvmt.tuning.loop import Losses, Phases, Tuning
from fastvmt.tuning.losses import latent_cells, mean_square, tracking_loss
from fastvmt.tuning.temporal_conv import Initial, TemporalConvolutions
from fastvmt.types import TransferCase

log = logging.getLogger(__name__)


def grid_queries(height: int, width: int, side: int) -> Tensor:
    """``side`` x ``side`` points (t = 0, x, y) spread over the first frame, pixels."""
    y, x = ((torch.arange(side) + 0.5) * length / side - 0.5 for length in (height, width))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([torch.zeros_like(rows), columns, rows], -1).flatten(0, 1)


def mask_queries(mask_HW: Tensor, count: int, seed: int) -> Tensor:
    """``count`` points (t = 0, x, y) drawn from the mask's pixels, or all of them where it has fewer."""
    pixels = mask_HW.cpu().nonzero()
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    return pad(pixels[order[:count]].flip(-1).float(), (1, 0))


def first_mask(case: TransferCase) -> Tensor | None:
    """The foreground (H, W) in the first frame; None where there is none."""
    mask = case.foreground_THW
    return mask[0] if mask is not None and mask[0].any() else None


class DeT(Tuned):
    """Tune temporal convolutions in every block, with a loss along tracks of the predicted clean clip at low noise.

    ``tracking_weight=0``, as released, leaves that loss out. Departures from the authors' code: all blocks sample
    with their convolutions, there the first 15 alone of those tuned; a step of a track counts where the point is seen
    in both frames, there in the later one.
    """

    name = "det"
    kept = "motion"
    least_frames = 3

    def __init__(
        self,
        tuning: Tuning,
        tracker: Tracker,
        channels: int = 128,
        initial: str = "normal",
        tracking_weight: float = 0.0,
        tracking_sigma: float = 0.6,
        points: int = 10,
    ) -> None:
        super().__init__(tuning)
        check_choice("method.initial", initial, [kind.value for kind in Initial])
        check_range("method.channels", channels, 1, LARGEST_COUNT)
        check_range("method.tracking_weight", tracking_weight, 0, LARGEST_WEIGHT)
        check_range("method.tracking_sigma", tracking_sigma, 0, 1)
        check_range("method.points", points, 1, LARGEST_COUNT)
        self.tracker = tracker
        self.channels = channels
        self.initial = Initial(initial)
        self.tracking_weight = tracking_weight
        self.tracking_sigma = tracking_sigma
        self.points = points

    def queries(self, job: Job) -> Tensor:
        """Points (t = 0, x, y) in the foreground of the first frame, or on a grid over all of it without a mask."""
        layout = job.backbone.layout
        mask = first_mask(job.case)
        if mask is None:
            return grid_queries(layout.height, layout.width, self.points)
        return mask_queries(mask, self.points**2, self.tuning.seed)

    def reference_cells(self, job: Job) -> tuple[Tensor, Tensor]:
        """Latent cells (N, F, 2) and visibility (N, F) of points followed through the reference."""
        where = "a grid over the first frame" if first_mask(job.case) is None else "the foreground's mask"
        queries = self.queries(job)
        log.info("det tracks %d points from %s", len(queries), where)
        tracks = self.tracker.track(job.case.reference.frames_THWC, queries)
        cells, visible = latent_cells(tracks.points_NT2, tracks.visible_NT, job.backbone.layout)
        return cells.to(job.reference.device), visible.to(job.reference.device)

    def identity(self, job: Job) -> dict[str, object]:
        own: dict[str, object] = {"channels": self.channels, "initial": self.initial.value}
        if self.tracking_weight > 0:
            own |= {"weight": self.tracking_weight, "level": self.tracking_sigma}
            own |= {"tracker": self.tracker.id, "queries": self.queries(job)}
        return own

    def adapters(self, job: Job) -> dict[str, Adapter]:
        layout = job.backbone.layout
        width = job.backbone.adapted_blocks[0].width
        convolutions = TemporalConvolutions.initial(
            layout.depth, layout.grid[0], width, self.channels, self.initial, self.tuning.seed, job.backbone.device
        )
        return {self.kept: convolutions}

    def losses(self, job: Job, adapters: Mapping[str, Adapter]) -> Losses:
        tracked = self.reference_cells(job) if self.tracking_weight > 0 else None

        def phases(choices: Draw) -> Phases:
            noise = draw_noise(job, choices)
            with adapters[self.kept].installed(job.backbone.adapted_blocks):
                noisy, error = velocity_error(job, job.reference, choices, noise)
                loss = mean_square(error)
                if tracked is not None and choices.sigma <= self.tracking_sigma:
                    clean = noisy - choices.sigma * (error + noise - job.reference)
                    loss = loss + self.tracking_weight * tracking_loss(clean, *tracked)
                yield self.kept, loss

        return phases

    def sampler_adapter(self, job: Job, tensors: Mapping[str, Tensor]) -> Adapter:
        return TemporalConvolutions(tensors, job.backbone.layout.grid[0], job.backbone.device)
