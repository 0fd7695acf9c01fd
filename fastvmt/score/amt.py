"""Frame interpolation by AMT-S, run from the user's own checkout: code and weights are CC-BY-NC."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from fastvmt.score.weights import WeightSource

AMT = WeightSource(
    name="amt",
    what="AMT-S",
    file="amt-s.pth",
    origin="the MCG-NKU/AMT release",
    licence="CC-BY-NC 4.0, not for commercial use",
    size="12 MB",
    override="metrics.weights.amt",
)
CHECKOUT = WeightSource(
    name="amt_checkout",
    what="AMT",
    file="the repository folder (with networks/AMT-S.py)",
    origin="the repository MCG-NKU/AMT",
    licence="CC-BY-NC 4.0, not for commercial use",
    size="a source checkout",
    override="metrics.weights.amt_checkout",
)
MODULE = "networks.AMT-S"
CLASS = "Model"
CONFIG = {"corr_radius": 3, "corr_lvls": 4, "num_flows": 3}


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """``folder`` first on the import path; its packages are forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        own = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
        for name in set(sys.modules) - before:
            if name.split(".")[0] in own:
                del sys.modules[name]


def padded(images_TCHW: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """Images with replicated borders, sides a multiple of ``multiple``, and the original's (left, top) corner."""
    high, wide = (-length % multiple for length in images_TCHW.shape[-2:])
    corner = wide // 2, high // 2
    return pad(images_TCHW, (corner[0], wide - corner[0], corner[1], high - corner[1]), mode="replicate"), corner


class AmtInterpolator:
    """Predicts at time 0.5 in float32; frames are padded to multiples of 16 and never scaled."""

    def __init__(self, checkout: str | Path | None, weights: str | Path | None, device: str = "cpu") -> None:
        """``checkout``: AMT's repository folder, whose code is run; ``weights``: ``amt-s.pth``.

        Raises ``MissingWeightsError`` if either is absent.
        """
        folder = CHECKOUT.locate(checkout).path
        file = AMT.locate(weights)
        if not (folder / "networks" / "AMT-S.py").is_file():
            raise CHECKOUT.missing(folder / "networks" / "AMT-S.py")
        with importable(folder):
            self.model: Any = getattr(importlib.import_module(MODULE), CLASS)(**CONFIG)
        file.fill(self.model, "AMT-S")
        self.model.to(device)
        self.device = device
        self.provenance = {"id": "AMT-S", "weights_sha256": file.sha256, "precision": "float32"}

    @torch.no_grad()
    def between(self, frames_THWC: Tensor) -> Tensor:
        """uint8 frames to the T-1 frames between them, clipped and truncated to uint8."""
        height, width = frames_THWC.shape[1:3]
        images, (left, top) = padded(frames_THWC.to(self.device).permute(0, 3, 1, 2).float() / 255, 16)
        half = torch.full((1, 1, 1, 1), 0.5, device=self.device)
        middle = []
        for before, after in zip(images[:-1], images[1:], strict=True):
            out = self.model(before[None], after[None], half, scale_factor=1.0, eval=True)["imgt_pred"][0]
            cut = out[:, top : top + height, left : left + width]
            middle.append((cut * 255).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu())
        return torch.stack(middle)
