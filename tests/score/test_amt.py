"""AMT is called from the user's checkout, and what is missing is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from fastvmt.score.amt import AmtInterpolator, padded
from fastvmt.score.smoothness import MotionSmoothness
from fastvmt.score.weights import MissingWeightsError
from fastvmt.types import Video

AMT = """
import torch
from networks.blocks.scale import SCALE

class Model(torch.nn.Module):
    def __init__(self, corr_radius, corr_lvls, num_flows):
        super().__init__()
        assert (corr_radius, corr_lvls, num_flows) == (3, 4, 3)
        self.gain = torch.nn.Parameter(torch.zeros(1))

    def forward(self, before, after, embt, scale_factor, eval):
        assert eval and scale_factor == 1.0 and embt.shape == (1, 1, 1, 1) and not self.training
        assert before.shape == after.shape and before.shape[-2] % 16 == before.shape[-1] % 16 == 0
        assert 0 <= before.min() and before.max() <= 1
        return {"imgt_pred": self.gain * SCALE * (before * (1 - embt) + after * embt)}
"""


def test_amt_is_called_from_the_users_checkout(tmp_path: Path) -> None:
    blocks = tmp_path / "checkout" / "networks" / "blocks"
    blocks.mkdir(parents=True)
    (blocks / "scale.py").write_text("SCALE = 2.0\n")
    (blocks.parent / "AMT-S.py").write_text(AMT)
    weights = tmp_path / "amt-s.pth"
    torch.save({"state_dict": {"gain": torch.tensor([0.55])}}, weights)
    amt = AmtInterpolator(tmp_path / "checkout", weights)
    frames = torch.randint(0, 256, (3, 20, 37, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean = (frames[:-1].double() + frames[1:].double()) / 2 * 1.1
    expected = mean.clamp(0, 255).floor()  # clipped and truncated, not rounded
    found = amt.between(frames).double()
    assert found.shape == frames[1:].shape
    assert (found == expected).double().mean() > 0.98 and (found - expected).abs().max() <= 1  # float32 at the edges
    assert MotionSmoothness(amt).value(Video(frames, 8.0)) < 1
    assert not [name for name in sys.modules if name.split(".")[0] == "networks"]
    assert str(tmp_path / "checkout") not in sys.path


def test_amt_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"CC-BY-NC 4\.0.*metrics\.weights\.amt_checkout"):
        AmtInterpolator(tmp_path / "checkout", None)
    with pytest.raises(MissingWeightsError, match=r"amt-s\.pth.*metrics\.weights\.amt="):
        AmtInterpolator(tmp_path, None)
    torch.save({"gain": torch.zeros(1)}, tmp_path / "amt-s.pth")
    with pytest.raises(MissingWeightsError, match=r"networks/AMT-S\.py"):
        AmtInterpolator(tmp_path, tmp_path / "amt-s.pth")


def test_padding_replicates_the_border() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    wide, (left, top) = padded(image, 8)
    assert wide.shape == (1, 1, 8, 8)
    assert torch.equal(wide[..., top : top + 3, left : left + 4], image)
    assert wide[0, 0, 0, 0] == image[0, 0, 0, 0] and wide[0, 0, -1, -1] == image[0, 0, -1, -1]
