"""Aesthetic quality: a linear head over known features, and files that are no such head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fastvmt.score.aesthetic import HEAD, AestheticQuality, aesthetic_quality, read_head
from helpers.clips import pan


class Known:
    """Fixed features, however the frames look."""

    provenance = {"id": "known"}

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        return self.rows


def test_aesthetic_quality(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    rows, weight, bias = torch.randn(5, 8, generator=g), torch.randn(1, 8, generator=g), torch.tensor([3.0])
    torch.save({"weight": weight, "bias": bias}, tmp_path / "head.pth")
    head = read_head(HEAD.locate(tmp_path / "head.pth"))
    linear = torch.nn.Linear(8, 1).requires_grad_(False)
    linear.load_state_dict({"weight": weight, "bias": bias})
    expected = float(linear(normalize(rows, dim=-1)).mean()) / 10
    assert float(aesthetic_quality(rows, *head)) == pytest.approx(expected, abs=1e-6)
    metric = AestheticQuality(Known(rows), head)
    metric.update([pan(5, (1, 0))], [0])
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match=r"reads 8 channels, the encoder gives 4.*metrics\.weights\.clip_l14"):
        AestheticQuality(Known(rows[:, :4]), head).value(pan(5, (1, 0)))
    for other in ({"layers.0.weight": weight}, {"weight": weight[0, :1], "bias": bias}):
        torch.save(other, tmp_path / "mlp.pth")
        with pytest.raises(ValueError, match=r"no linear head.*metrics\.weights\.aesthetic=<path>"):
            read_head(HEAD.locate(tmp_path / "mlp.pth"))
