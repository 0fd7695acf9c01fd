"""DiTFlow's maths: shifted keys, brute force, and which entries count."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from fastvmt.motion.ditflow import expected_flow, moving_flow_loss, strongest_flow
from fastvmt.motion.flow import full_flow
from fastvmt.motion.pairs import all_pairs
from fastvmt.types import MotionField

GRID = (3, 5, 6)


def shifted_features(shifts: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """One unmistakable query per token of a frame; frame j's keys are those, moved (cyclically) by shifts[j]."""
    frame = torch.eye(30).view(5, 6, 30)
    keys = torch.stack([frame.roll(shift, (0, 1)) for shift in shifts]).flatten(1, 2)
    return frame.flatten(0, 1).expand(3, -1, -1), keys


def test_all_ordered_pairs_are_there_once() -> None:
    assert all_pairs(3) == tuple(itertools.product(range(3), range(3)))
    assert len(all_pairs(21)) == 441


@pytest.mark.parametrize("shifts", [[(0, 0), (1, 2), (-2, 1)], [(0, 0), (0, 0), (2, -3)]])
def test_keys_that_moved_are_found(shifts: list[tuple[int, int]]) -> None:
    q, k = shifted_features(shifts)
    pairs = all_pairs(3)
    hard = strongest_flow(q, k, pairs, GRID)
    soft = full_flow(q, k, pairs, GRID, 200.0)
    torch.testing.assert_close(soft.flow_PS2, hard.flow_PS2)
    for pair, flow in zip(pairs, hard.flow_PS2.view(9, 5, 6, 2), strict=True):
        down, right = shifts[pair[1]]
        for row, column in itertools.product(range(5), range(6)):
            found = flow[row, column] + torch.tensor([row, column])
            assert found.tolist() == [(row + down) % 5, (column + right) % 6]


def test_strongest_flow_by_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(3, 30, 4, generator=generator) for _ in range(2))
    field = strongest_flow(q, k, all_pairs(3), GRID)
    for p, (i, j) in enumerate(itertools.product(range(3), range(3))):
        for s in range(30):
            scores = [math.fsum((q[i, s] * k[j, t]).tolist()) for t in range(30)]
            t = max(range(30), key=scores.__getitem__)
            assert field.flow_PS2[p, s].tolist() == [t // 6 - s // 6, t % 6 - s % 6]
    assert not field.flow_PS2.requires_grad


def test_the_expected_flow_keeps_no_attention_for_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(3, 30, 4, generator=generator, requires_grad=True) for _ in range(2))
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    results, most = [], []
    for flow in (full_flow, expected_flow):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = flow(q, k, all_pairs(3), GRID, 2.0).flow_PS2.square().mean()
        results.append([loss, *torch.autograd.grad(loss, (q, k))])
        most.append(max(kept))
        kept.clear()
    torch.testing.assert_close(results[0], results[1])
    assert most[0] >= 3 * 30 * 30  # logits of a frame with all frames
    assert most[1] <= 9 * 30 * 2  # the displacements


def field_of(flow: torch.Tensor) -> MotionField:
    return MotionField(flow, all_pairs(3), GRID)


def test_loss_is_the_mean_over_entries_that_move() -> None:
    generator = torch.Generator().manual_seed(1)
    reference = torch.randint(-1, 2, (9, 30, 2), generator=generator).float()
    generated = torch.randn(9, 30, 2, generator=generator)
    terms = [
        (a - b) ** 2
        for g, r in zip(generated.view(-1, 2).tolist(), reference.view(-1, 2).tolist(), strict=True)
        if any(r)
        for a, b in zip(g, r, strict=True)
    ]
    assert 0 < len(terms) < reference.numel()
    loss = moving_flow_loss(field_of(generated), field_of(reference))
    assert float(loss) == pytest.approx(math.fsum(terms) / len(terms), rel=1e-5)


def test_loss_and_gradient_vanish_where_they_should() -> None:
    generated = torch.randn(9, 30, 2, requires_grad=True)
    same = moving_flow_loss(field_of(generated), field_of(generated.detach()))
    still = moving_flow_loss(field_of(generated), field_of(torch.zeros(9, 30, 2)))
    assert same.item() == still.item() == 0
    assert not torch.autograd.grad(same + still, generated)[0].any()
    one = torch.zeros(9, 30, 2)
    one[4, 7, 1] = 2.0
    (gradient,) = torch.autograd.grad(moving_flow_loss(field_of(generated), field_of(one)), generated)
    assert gradient.nonzero()[:, :2].unique(dim=0).tolist() == [[4, 7]]


def test_loss_has_the_right_gradient() -> None:
    reference = field_of(torch.randint(-1, 2, (9, 30, 2)).double())
    start = torch.randn(9, 30, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda flow: moving_flow_loss(field_of(flow), reference), start)
