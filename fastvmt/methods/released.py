"""FastVMT as its authors' code computes it, departure by departure (see ``Switches``)."""

from __future__ import annotations

import logging
from dataclasses import asdict
from math import prod

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.fastvmt import FastVMT
from fastvmt.methods.job import Job
from fastvmt.motion.losses import amf_loss
from fastvmt.motion.released import (
    between_frames,
    check_scramble,
    reduce_queries_and_keys,
    released_flow,
    released_pairs,
    released_weights,
    released_window_loss,
    spatial_reduction,
    tracked_keys,
)
from fastvmt.motion.switches import Switches
from fastvmt.schedule import add_noise
from fastvmt.settings import Guidance, Skip, Window
from fastvmt.types import MotionField, Pairs

log = logging.getLogger(__name__)


def rounded_level(sigma: float) -> float:
    """The noise level of a timestep that went through bfloat16."""
    return float(torch.tensor(1000.0 * sigma).bfloat16()) / 1000.0


def nearest_level(sigma: float, levels: list[float]) -> float:
    """The first of the levels that are nearest to ``sigma``."""
    return min(levels, key=lambda level: abs(level - sigma))


class ReleasedFastVMT(FastVMT):
    """FastVMT with switches; with all at their correct form it is FastVMT bit for bit.

    Optimiser, schedule and gradient reuse are FastVMT's: there the released code follows the paper.
    """

    def __init__(
        self,
        window: Window,
        skip: Skip,
        guidance: Guidance,
        switches: Switches,
        name: str = "fastvmt_released",
    ) -> None:
        """``name`` goes to the records."""
        super().__init__(window, skip, guidance)
        self.switches = switches
        self.name = name
        self.latent_dtype = getattr(torch, switches.latent_dtype)
        self.reads_per_case = switches.ref_noise == "init"

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        s = self.switches
        if s.pair_range == "code" and self.window.sf < 2:
            raise ValueError(
                f"window.sf={self.window.sf} leaves no pair of frames with method.switches.pair_range=code, which "
                "looks sf - 1 frames ahead: set window.sf=2 or more"
            )
        if s.head_reduce == "official_scramble":
            check_scramble(prod(layout.grid), layout.heads)
        self.check_windows(layout)
        unused = [name for name in ("key_mean", "window_norm") if getattr(s, name) != getattr(Switches(), name)]
        if unused and self.guidance.window_weight == 0:
            names = " and ".join(f"method.switches.{name}" for name in unused)
            log.warning("%s act on the window loss, which guidance.window_weight=0 leaves out", names)

    def check_windows(self, layout: Layout) -> None:
        """Raise ``ValueError`` when a switch of the windows has none, or none that fits the frame, to work on."""
        concerned = ("window_clamp", "offset", "parity", "key_mean", "window_norm")
        changed = [name for name in concerned if getattr(self.switches, name) != getattr(Switches(), name)]
        if self.window.l == 0 and changed:
            key = changed[0]
            raise ValueError(
                f"method.switches.{key}={getattr(self.switches, key)} needs windows, but window.l=0 has none: "
                f"set window.l to an odd number or method.switches.{key}={getattr(Switches(), key)}"
            )
        shorter = min(layout.grid[1:])
        if self.switches.window_clamp == "positions" and self.window.l > shorter:
            raise ValueError(
                f"window.l={self.window.l} with method.switches.window_clamp=positions must be at most {shorter}, the "
                f"shorter side in tokens of a frame of {layout.name}"
            )

    def level(self, sigma: float) -> float:
        return rounded_level(sigma) if self.switches.timestep_dtype == "bfloat16" else sigma

    def pairs(self, frames: int) -> Pairs:
        return released_pairs(frames, self.window.sf, self.switches)

    def compared_pairs(self, frames: int) -> Pairs:
        return between_frames(self.pairs(frames))

    def motion(self, q: Tensor, k: Tensor, grid: tuple[int, int, int]) -> tuple[MotionField, Tensor | None]:
        g = self.guidance
        w = self.window
        q, k, scale = reduce_queries_and_keys(q, k, self.switches, g.head_reduce)
        pairs = self.pairs(grid[0])
        field, index_PTL = released_flow(q, k, pairs, grid, scale * w.tau, w, self.switches)
        if index_PTL is None or g.window_weight == 0:
            return field, None
        return field, tracked_keys(k, between_frames(pairs), index_PTL, grid, w, self.switches)

    def loss(self, generated: MotionField, mean_keys: Tensor | None, reference: MotionField) -> dict[str, Tensor]:
        g = self.guidance
        weight_P = released_weights(reference.pairs, self.window.sf, g.alpha, self.switches, reference.flow_PS2.device)
        reduction = spatial_reduction(self.switches, g.reduction)
        terms = {"amf": g.amf_weight * amf_loss(generated, reference, weight_P, reduction)}
        if mean_keys is not None:
            between = between_frames(generated.pairs)
            terms["window"] = g.window_weight * released_window_loss(mean_keys, between, self.switches)
        return terms

    def noise_level(self, job: Job, sigma: float) -> float:
        """The level to which the reference is noised: the schedule's, found from the timestep."""
        if self.switches.timestep_dtype == "float32":
            return sigma
        return nearest_level(rounded_level(sigma), [min(level, self.guidance.reference_noise) for level in job.sigmas])

    def noised_reference(self, job: Job, sigma: float) -> Tensor:
        level = self.noise_level(job, sigma)
        if self.switches.ref_noise == "independent":
            return job.noised_reference(level, self.guidance.reference_seed)
        return add_noise(job.reference, job.noise, level)

    def reference_settings(self, job: Job, sigma: float) -> dict[str, object]:
        noise = job.noise if self.switches.ref_noise == "init" else None
        settings = {"switches": asdict(self.switches), "noise": noise, "level": round(self.noise_level(job, sigma), 6)}
        return super().reference_settings(job, sigma) | settings

    def step(self, job: Job, i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Also in steps without guidance, the trajectory is rounded to ``latent_dtype``."""
        return super().step(job, i, x.to(self.latent_dtype).float(), sigma, sigma_next)
