"""DeT's tracking loss, and where the points start that it tracks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fastvmt.backbones.wan import WanBackbone
from fastvmt.methods.det import grid_queries, mask_queries
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.tuning.draw import Draw
from fastvmt.types import TransferCase
from helpers.methods import det
from helpers.transfers import captioned_case, job_for


@pytest.fixture(scope="session")
def case() -> TransferCase:
    return captioned_case()


def test_tracking_loss_of_det_acts_at_low_noise_only(backbone: WanBackbone, case: TransferCase) -> None:
    job = job_for(backbone, case)
    off, on = det(), det(tracking_weight=0.3, tracking_sigma=0.5)
    values = {}
    with torch.no_grad():
        for sigma in (0.4, 0.5, 0.6):
            choices = Draw(0, sigma, 0.0, 0.0, 0.0, 11)
            values[sigma] = [float(next(m.losses(job, m.adapters(job))(choices))[1]) for m in (off, on)]
        noise = seeded_noise(backbone.layout.latent_shape, 11, backbone.device)
        noisy = add_noise(job.reference, noise, 0.4)
        clean = noisy - 0.4 * backbone.velocity(noisy, 0.4, backbone.embed(case.reference_prompt))
    cells, visible = on.reference_cells(job)
    assert cells.shape == (16, 5, 2)
    pairs = [
        (clean[0, :, f, *cells[n, f]] - clean[0, :, f - 1, *cells[n, f - 1]]) * (visible[n, f] & visible[n, f - 1])
        for n in range(16)
        for f in range(1, 5)
    ]
    scatter = float(torch.stack(pairs).square().mean())
    assert scatter > 0
    assert values[0.4][1] - values[0.4][0] == pytest.approx(0.3 * scatter, rel=1e-3)
    assert values[0.5][1] > values[0.5][0]
    assert values[0.6][1] == values[0.6][0]


def test_tracked_points_cover_the_first_frame() -> None:
    queries = grid_queries(20, 40, 2)
    assert queries.tolist() == [[0, 9.5, 4.5], [0, 29.5, 4.5], [0, 9.5, 14.5], [0, 29.5, 14.5]]


def test_points_are_drawn_from_the_mask() -> None:
    mask = torch.zeros(20, 40, dtype=torch.bool)
    mask[3:5, 10:13] = True
    inside = {(0, x, y) for y in (3, 4) for x in (10, 11, 12)}
    some, every = (mask_queries(mask, count, seed=0).tolist() for count in (4, 9))
    assert len({tuple(point) for point in some}) == 4 and {tuple(point) for point in some} < inside
    assert len(every) == 6 and {tuple(point) for point in every} == inside
    assert mask_queries(mask, 4, seed=0).tolist() == some != mask_queries(mask, 4, seed=1).tolist()


def test_tracks_of_det_start_in_the_foreground(
    backbone: WanBackbone, case: TransferCase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    method, mask = det(tracking_weight=0.1), torch.zeros(9, 48, 48, dtype=torch.bool)
    later = mask.clone()
    later[1:] = True  # nothing in the first frame
    mask[0, 8:12, 20:24] = True  # latent cell (2, 5), of 4 x 4 pixels
    everywhere = method.reference_cells(job_for(backbone, case))[0]
    for foreground, where in ((None, "a grid over"), (later, "a grid over"), (mask, "the foreground's mask")):
        job = job_for(backbone, replace(case, foreground_THW=foreground))
        cells = method.reference_cells(job)[0]
        assert cells.shape == (16, 5, 2)
        if foreground is mask:
            assert (cells[:, 0] == torch.tensor([2, 5])).all()
        else:
            assert torch.equal(cells, everywhere)
        assert f"det tracks 16 points from {where}" in caplog.text
        caplog.clear()
        assert torch.equal(method.identity(job)["queries"], method.queries(job)) and not caplog.text
