"""Frame pairs, their weights and the two losses: closed forms."""

from __future__ import annotations

import pytest
import torch

from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import frame_pairs, pair_weights
from fastvmt.types import MotionField

Grid = tuple[int, int, int]


@pytest.mark.parametrize(("frames", "sf"), [(21, 4), (5, 2), (3, 4), (2, 9), (8, 1)])
def test_pairs_are_every_forward_pair_within_the_span(frames: int, sf: int) -> None:
    pairs = frame_pairs(frames, sf)
    expected = [(i, j) for i in range(frames) for j in range(frames) if 0 < j - i <= sf]
    assert list(pairs) == expected
    span = min(sf, frames - 1)
    assert len(pairs) == span * frames - span * (span + 1) // 2


def test_weights_fall_linearly_with_distance() -> None:
    pairs = ((0, 1), (0, 2), (0, 3), (0, 4), (7, 8))
    torch.testing.assert_close(pair_weights(pairs, 4, 0.2), torch.tensor([1, 1 - 0.2 / 3, 1 - 0.4 / 3, 0.8, 1]))
    assert torch.equal(pair_weights(frame_pairs(5, 1), 1, 0.7), torch.ones(4))
    short = frame_pairs(2, 4)  # fewer frames than the span
    assert torch.equal(pair_weights(short, 4, 0.2), torch.ones(1))


def test_one_frame_has_no_motion() -> None:
    with pytest.raises(ValueError, match=r"window\.sf=2.*at least two"):
        frame_pairs(1, 2)


def constant_field(grid: Grid, sf: int, value: tuple[float, float]) -> MotionField:
    pairs = frame_pairs(grid[0], sf)
    return MotionField(torch.tensor(value).expand(len(pairs), grid[1] * grid[2], 2), pairs, grid)


def test_amf_loss_is_the_weighted_mean_squared_distance() -> None:
    grid = (4, 3, 5)
    still, moving = constant_field(grid, 3, (0.0, 0.0)), constant_field(grid, 3, (3.0, 4.0))
    weights = pair_weights(still.pairs, 3, 0.2)
    assert float(amf_loss(moving, moving, weights)) == 0.0
    # distances 1, 2, 3 occur 3, 2 and 1 times and weigh 1, 0.9 and 0.8
    assert float(amf_loss(moving, still, weights)) == pytest.approx(25 * (3 + 1.8 + 0.8) / 6)


def test_the_reference_gets_no_gradient() -> None:
    grid, pairs = (2, 2, 2), frame_pairs(2, 1)
    generated, reference = (torch.randn(1, 4, 2, requires_grad=True) for _ in range(2))
    amf_loss(MotionField(generated, pairs, grid), MotionField(reference, pairs, grid), torch.ones(1)).backward()
    assert generated.grad is not None
    assert reference.grad is None


@pytest.mark.parametrize(
    "other",
    [
        constant_field((4, 5, 3), 2, (0.0, 0.0)),  # same tokens, other grid
        constant_field((4, 3, 5), 3, (0.0, 0.0)),  # more pairs
        MotionField(torch.zeros(5, 15, 2), tuple((i, j) for j in (3, 2) for i in range(j)), (4, 3, 5)),
    ],
)
def test_fields_that_do_not_belong_together_are_refused(other: MotionField) -> None:
    field = constant_field((4, 3, 5), 2, (0.0, 0.0))
    with pytest.raises(ValueError, match=r"do not belong together.*grid \(4, 3, 5\)"):
        amf_loss(field, other, torch.ones(len(field.pairs)))


def test_window_loss_closed_form() -> None:
    pairs = frame_pairs(4, 2)  # (0,1) (0,2) (1,2) (1,3) (2,3): frames 0 and 1 have two targets, frame 2 one
    means = torch.zeros(5, 6, 2)
    means[1] = torch.tensor([3.0, 4.0])  # 25 at every tile of frame 0
    means[3, :3] = torch.tensor([0.0, 2.0])  # 4 at half of the tiles of frame 1
    means[4] = 100.0  # no second target: must not count
    assert float(window_loss(means, pairs)) == pytest.approx((25 + 2) / 2)
    assert float(window_loss(means[:3], frame_pairs(4, 1))) == 0.0
