"""A short calibration of the video model on its device."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from omegaconf import OmegaConf

from fastvmt.backbones.base import Backbone
from fastvmt.cost.calibration import Calibration
from fastvmt.engine.fit import check_fit
from fastvmt.engine.loaded import Shelf, load_backbone
from fastvmt.engine.plan import Plan
from fastvmt.engine.resources import check_devices
from fastvmt.errors import UserError, first_line
from fastvmt.schedule import seeded_noise
from fastvmt.stopwatch import Stopwatch
from fastvmt.threads import computing_with

SIGMA = 0.9
"""Noise level of the calibration: the guided steps' expert is in charge."""
MOST_TIMES = 20
"""Repetitions of the calibration's passes, of which short ones have more."""


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Mean seconds of work that was done once before: of about a second's repetitions, at least one."""
    watch = Stopwatch(device)
    with watch.stage("warm"):
        work()
    times = max(1, round(1 / max(watch.totals()["warm"], 1 / MOST_TIMES)))
    with watch.stage("timed"):
        for _ in range(times):
            work()
    return watch.totals()["timed"] / times


def calibrate(backbone: Backbone) -> Calibration:
    """Time a velocity without gradient, and a gradient through half of the blocks."""
    text = backbone.embed("")
    depth = backbone.layout.depth
    half = max(1, depth // 2)
    latents = seeded_noise(backbone.layout.latent_shape, 0, backbone.device)
    leaf = latents.clone().requires_grad_(True)

    def gradient() -> None:
        with torch.enable_grad():
            read = backbone.hidden(leaf, SIGMA, text, half - 1)
            torch.autograd.grad(read.float().square().sum(), leaf)

    with torch.no_grad():
        forward = timed(backbone.device, lambda: backbone.velocity(latents, SIGMA, text)) / depth
        return Calibration(forward, max(0.0, timed(backbone.device, gradient) / half - forward))


def calibrated(plan: Plan, shelf: Shelf) -> Calibration | str:
    """Give the calibration of a plan, or why there is none.

    It loads the video model alone, once for all plans of a shelf that have the same with as many threads: rows of a
    sweep then compare by their passes, whatever else the machine did meanwhile.
    """
    cfg = plan.cfg
    try:
        check_devices(cfg)
        check_fit(plan)
        key = json.dumps([OmegaConf.to_container(cfg.backbone, resolve=True, enum_to_str=True), cfg.threads])
        if key not in shelf.calibrations:
            shelf.calibrations[key] = measured(plan)
        return shelf.calibrations[key]
    except (UserError, ValueError, OSError) as error:
        return str(error)
    except torch.OutOfMemoryError as error:
        return first_line(error)


def measured(plan: Plan) -> Calibration:
    """Calibrate a plan's video model. Raises as its constructor."""
    backbone = load_backbone(plan.cfg, [""])
    with computing_with(plan.cfg.threads):
        return calibrate(backbone)
