"""Dense flow between frames: DIS in pixels of the frame, RAFT called as published."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import fastvmt.torchvision_ops  # noqa: F401  before torchvision is imported
from fastvmt.score.dense_flow import RaftFlow, dis_flow
from fastvmt.score.dynamic import video_dynamics
from fastvmt.score.weights import MissingWeightsError
from helpers.clips import pan


def test_dis_flow_is_in_pixels_of_the_frame() -> None:
    for size in ((96, 128), (400, 500)):  # enlarged, and made smaller
        forward, backward = dis_flow(pan(3, (3, 2), size).frames_THWC)
        inner = np.s_[20:-20, 20:-20]
        for fields, sign in ((forward, -1), (backward, 1)):
            assert np.median(fields[0][inner], (0, 1)) == pytest.approx((sign * 3, sign * 2), abs=0.3)


@pytest.fixture(scope="module")
def raft_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("raft") / "raft.pth"
    torch.save(raft_large(weights=None).state_dict(), file)
    return file


@torch.no_grad()
def test_raft_is_called_as_published(raft_file: Path) -> None:
    from torchvision.models.optical_flow import raft_large

    model = raft_large(weights=None).eval()
    model.load_state_dict(torch.load(raft_file, weights_only=True))
    video = pan(2, (4, 0), (131, 128))
    images = video.frames_THWC.permute(0, 3, 1, 2).float() / 255 * 2 - 1
    images = torch.nn.functional.pad(images, (0, 0, 2, 3), mode="replicate")  # 131 to 136 rows
    expected = model(images[:1], images[1:], num_flow_updates=20)[-1][0, :, 2:-3].permute(1, 2, 0)
    flow = RaftFlow(raft_file).forward_flow(video.frames_THWC)
    assert flow is not None and len(flow) == 1
    torch.testing.assert_close(torch.from_numpy(flow[0]), expected, atol=1e-3, rtol=1e-3)
    assert math.isnan(video_dynamics(pan(9, (8, 0)), RaftFlow(raft_file)).moves)  # 96 rows are too few


def test_raft_refuses_other_files(raft_file: Path, tmp_path: Path) -> None:
    named = tmp_path / "raft_large_C_T_V1-22a6c225.pth"
    named.write_bytes(raft_file.read_bytes())
    with pytest.raises(ValueError, match="has 22a6c225"):
        RaftFlow(named)
    with pytest.raises(MissingWeightsError, match=r"raft_large_C_T_V1-22a6c225\.pth.*metrics\.weights\.raft"):
        RaftFlow(None)
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"does not fit torchvision's large RAFT.*metrics\.weights\.raft=<path>"):
        RaftFlow(tmp_path / "a.pth")
