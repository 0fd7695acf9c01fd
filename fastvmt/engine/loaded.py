"""What a session loads once: the scores at first, the model when something has to be generated."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from omegaconf import DictConfig, OmegaConf

from fastvmt.backbones.base import Backbone
from fastvmt.construct import construct
from fastvmt.cost.calibration import Calibration
from fastvmt.cost.meters import Meters, open_meters
from fastvmt.engine import out_of_memory
from fastvmt.engine.plan import Plan, cache_of, make_tracker
from fastvmt.engine.quiet import quiet_libraries
from fastvmt.engine.resources import check_devices
from fastvmt.score.scores import Scores
from fastvmt.threads import computing_with

GROUPS = ("backbone", "metrics", "tracker")
"""Groups of the configuration that are loaded once."""


@dataclass(frozen=True)
class Model:
    """A loaded backbone, and what measures the cost of a case on it."""

    backbone: Backbone
    meters: Meters
    seconds: float
    """The prompts' embeddings, and the weights from disk to device."""


def load_backbone(cfg: DictConfig, prompts: Iterable[str]) -> Backbone:
    """Load the video model of a configuration and embed prompts.

    Raises as its constructor, and :class:`UserError` for a device without room.
    """
    with quiet_libraries(), computing_with(cfg.threads), out_of_memory.refused_loading(cfg.backbone):
        embeddings = cache_of(cfg).below("text")
        backbone: Backbone = construct(cfg.backbone, "backbone", embeddings=embeddings, prompts=prompts)
    return backbone


class Loaded:
    """The scores of a plan, and its model once it is asked for."""

    def __init__(self, plan: Plan, model: Model | None = None) -> None:
        """Load the scores, which fail sooner than the model, unless that is here already.

        Raises :class:`UserError` for a device that lacks, or has no room for them.
        """
        cfg = plan.cfg
        check_devices(cfg)
        self.plan = plan
        self.model = model
        """None until :meth:`load`."""
        with quiet_libraries(), computing_with(cfg.threads), out_of_memory.refused_scores():
            self.scores: Scores = construct(cfg.metrics, "metrics", tracker=make_tracker(cfg, cache_of(cfg)))

    def load(self) -> Model:
        """Give the model, loaded at the first call. Raises as :func:`load_backbone`."""
        if self.model is not None:
            return self.model
        start = time.perf_counter()
        backbone = load_backbone(self.plan.cfg, self.plan.cases.texts())
        self.model = Model(backbone, open_meters(backbone.device), time.perf_counter() - start)
        return self.model

    def differs(self, cfg: DictConfig, groups: Iterable[str] = GROUPS) -> str | None:
        """Name a group in which ``cfg`` asks for something else than what is loaded; None if there is none."""
        for group in groups:
            wanted, loaded = (OmegaConf.to_container(c[group], resolve=True) for c in (cfg, self.plan.cfg))
            if wanted != loaded:
                return group
        return None


class Shelf:
    """What consecutive runs of a process load once, such as the jobs of a sweep."""

    def __init__(self) -> None:
        self.loaded: Loaded | None = None
        self.calibrations: dict[str, Calibration] = {}
        """Of :func:`fastvmt.engine.calibration.calibrated`, by model and threads."""

    def take(self, plan: Plan) -> Loaded:
        """Give what fits a plan: what lies here, or else it makes room for what is loaded anew."""
        model = None
        if self.loaded is not None:
            if self.loaded.differs(plan.cfg) is None:
                return self.loaded
            if self.loaded.differs(plan.cfg, ["backbone"]) is None:
                model = self.loaded.model  # other scores, or another tracker
        self.clear()
        self.loaded = Loaded(plan, model)
        return self.loaded

    def clear(self) -> None:
        """Let go of everything."""
        self.loaded = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
