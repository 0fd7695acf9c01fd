"""The networks that scores need, each loaded once, when a score first asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

from fastvmt.device import device_of
from fastvmt.score.amt import AmtInterpolator
from fastvmt.score.clip.files import ARCHITECTURE, CLIP, CLIP_L14
from fastvmt.score.dense_flow import RaftFlow
from fastvmt.score.encoder import RememberingEncoder
from fastvmt.score.subject import load_dino
from fastvmt.score.weights import WeightSource
from fastvmt.shipped import shipped_model
from fastvmt.trackers.base import Tracker
from fastvmt.weight_file import WeightFile

CLIP_KEYS = ("model", "architecture", "quick_gelu", "preprocess", "scale")


def clip_path(model: str | None) -> str | Path | None:
    """Where a CLIP model is: a path, or that of one that ships with the package, by its name."""
    shipped = shipped_model(str(model))
    return shipped if model and shipped.is_dir() else model


class Networks:
    """Loads what is asked for from the paths of the configuration; text and image scores share one encoder."""

    def __init__(
        self,
        tracker: Tracker,
        clip: Mapping[str, Any],
        weights: Mapping[str, str | None],
        vbench_compat: bool,
        device: str,
    ) -> None:
        """Missing files show when a score asks for them."""
        self.tracker = tracker
        self.settings = clip
        self.weights = weights
        self.vbench_compat = vbench_compat
        self.device = str(device_of(device))
        self.preprocess = str(clip.get("preprocess", "pil"))

    def file(self, source: WeightSource) -> WeightFile:
        """The weights of a source; raises ``MissingWeightsError`` if their path leads nowhere."""
        return source.locate(self.weights.get(source.name))

    @property
    def scale(self) -> float:
        """Factor of the text similarity."""
        return float(self.settings.get("scale", 1.0))

    @cached_property
    def clip(self) -> RememberingEncoder:
        """The encoder of text, temporal and background scores: a shipped model or the user's."""
        architecture = self.settings.get("architecture") or ARCHITECTURE
        return self.encoder(CLIP, clip_path(self.settings.get("model")), architecture, self.settings.get("quick_gelu"))

    @cached_property
    def clip_l14(self) -> RememberingEncoder:
        """CLIP ViT-L/14, for aesthetic quality and the extra text column."""
        return self.encoder(CLIP_L14, self.weights.get("clip_l14"), "ViT-L-14-quickgelu")

    def encoder(
        self, source: WeightSource, path: str | Path | None, architecture: str, quick_gelu: bool | None = None
    ) -> RememberingEncoder:
        """Load a CLIP model. Raises as :class:`ClipEncoder` does."""
        from fastvmt.score.clip.encoder import ClipEncoder  # open_clip takes seconds, and a dry run needs none

        return RememberingEncoder(
            ClipEncoder(path, self.device, self.preprocess, architecture, quick_gelu, source=source)
        )

    def as_vbench(self, clip: RememberingEncoder) -> RememberingEncoder:
        """What VBench's scores read: with ``vbench_compat`` frames prepared as there, whatever text scores do."""
        if not self.vbench_compat or self.preprocess == "vbench":
            return clip
        other = copy(clip.encoder)  # shares the network
        other.preprocess = "vbench"
        return RememberingEncoder(other)

    @cached_property
    def dino(self) -> RememberingEncoder:
        """DINO ViT-B/16."""
        return RememberingEncoder(load_dino(self.weights.get("dino"), self.vbench_compat, self.device))

    @cached_property
    def amt(self) -> AmtInterpolator:
        """AMT-S."""
        return AmtInterpolator(self.weights.get("amt_checkout"), self.weights.get("amt"), self.device)

    @cached_property
    def raft(self) -> RaftFlow:
        """torchvision's large RAFT."""
        return RaftFlow(self.weights.get("raft"), self.device)
