"""The tuning losses against brute force, the random choices, the inversion, and the loop's guarantees."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.tuners.lora import LoraLayer
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.sampling import denoise, euler_step
from fastvmt.schedule import seeded_noise, sigma_schedule
from fastvmt.tuning.adapter import Adapter
from fastvmt.tuning.checkpoint import TuningCheckpoint
from fastvmt.tuning.draw import Draw, choose, draw
from fastvmt.tuning.inversion import Inversion, inverted_path
from fastvmt.tuning.loop import Losses, Phases, Tuning, tune
from fastvmt.tuning.lora import LoraSet
from fastvmt.tuning.losses import debiased, latent_cells, mean_square, tracking_loss
from fastvmt.tuning.temporal_conv import Initial, TemporalConvolutions

CPU = torch.device("cpu")
TUNING = Tuning(iterations=6, lr=0.01, shift=3.0, checkpoint_every=2, seed=3)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_debiased_error_is_the_error_of_debiased_predictions(beta: float) -> None:
    predicted, true, anchor = normal(1, 3, 5, 2, 2), normal(1, 3, 5, 2, 2, seed=1), 3

    def phi(e: Tensor) -> Tensor:
        return torch.stack([math.sqrt(beta**2 + 1) * e[:, :, i] - beta * e[:, :, anchor] for i in range(5)], 2)

    torch.testing.assert_close(debiased(predicted - true, anchor, beta), phi(predicted) - phi(true))


def test_debiasing_discounts_an_error_that_all_frames_share() -> None:
    common = normal(1, 3, 1, 2, 2).expand(-1, -1, 5, -1, -1)
    ratio = mean_square(debiased(common, 2)) / mean_square(common)
    assert float(ratio) == pytest.approx((math.sqrt(2) - 1) ** 2, rel=1e-5)


def test_tracking_loss_is_its_sum() -> None:
    latents, generator = normal(1, 3, 4, 5, 6), torch.Generator().manual_seed(1)
    cells = torch.stack([torch.randint(n, (7, 4), generator=generator) for n in (5, 6)], -1)
    visible = torch.rand(7, 4, generator=generator) < 0.7
    total = 0.0
    for n in range(7):
        for f in range(1, 4):
            if visible[n, f] and visible[n, f - 1]:
                (r, c), (r0, c0) = cells[n, f].tolist(), cells[n, f - 1].tolist()
                total += float((latents[0, :, f, r, c] - latents[0, :, f - 1, r0, c0]).square().sum())
    assert float(tracking_loss(latents, cells, visible)) == pytest.approx(total / (7 * 3 * 3), rel=1e-5)


def test_latents_that_move_along_their_tracks_have_no_tracking_loss() -> None:
    still = normal(1, 3, 1, 8, 8)
    moving = torch.cat([still.roll((f, 2 * f), (3, 4)) for f in range(4)], 2)
    f = torch.arange(4)
    cells = torch.stack([(1 + f), (1 + 2 * f)], -1)[None].repeat(2, 1, 1)
    visible = torch.ones(2, 4, dtype=torch.bool)
    assert float(tracking_loss(moving, cells, visible)) == 0
    assert float(tracking_loss(moving, cells.flip(-1), visible)) > 0.1


def test_a_point_lies_in_the_cell_that_covers_its_pixel() -> None:
    layout = Layout("small", 9, 32, 48, 3, 4, 8, 4, (1, 2, 2), 2)  # 3 latent frames of 4 x 6 cells of 8 pixels
    points = torch.zeros(2, 9, 2)
    points[0, 0], points[0, 4], points[0, 8] = torch.tensor([[7.4, 7.6], [7.5, 8.0], [99.0, -4.0]])
    visible = torch.zeros(2, 9, dtype=torch.bool)
    visible[0, 4] = visible[0, 5] = True
    cells, seen = latent_cells(points, visible, layout)
    assert cells[0].tolist() == [[1, 0], [1, 1], [0, 5]]  # (row, column); outside is clamped
    assert seen.tolist() == [[False, True, False], [False] * 3]


@settings(deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), iteration=st.integers(0, 1000), shift=st.floats(0.5, 10))
def test_choices_follow_from_seed_and_iteration(seed: int, iteration: int, shift: float) -> None:
    one = draw(seed, iteration, shift)
    assert one == draw(seed, iteration, shift)
    assert one.seed != draw(seed, iteration + 1, shift).seed
    assert 0 <= one.sigma <= 1
    assert all(0 <= x < 1 for x in (one.coin, one.frame, one.anchor))


def test_choices_are_spread_as_they_say() -> None:
    draws = Tuning(iterations=4000, lr=1.0, shift=3.0).draws()
    for values in ([d.coin for d in draws], [d.frame for d in draws], [d.anchor for d in draws]):
        assert np.histogram(values, 10, (0, 1))[0] == pytest.approx([400] * 10, abs=100)
    uniform = [d.sigma / (3 - 2 * d.sigma) for d in draws]  # the shift undone
    assert np.histogram(uniform, 10, (0, 1))[0] == pytest.approx([400] * 10, abs=100)
    assert np.histogram([choose(d.frame, 5) for d in draws], 5)[0] == pytest.approx([800] * 5, abs=120)
    pairs = np.corrcoef([d.coin for d in draws[:-1]], [d.coin for d in draws[1:]])[0, 1]
    assert abs(pairs) < 0.05
    assert choose(0.0, 3) == 0 and choose(0.9999999, 3) == 2


@torch.no_grad()
def test_inverted_noise_leads_back(backbone: WanBackbone) -> None:
    text, x = backbone.embed(""), 0.5 * normal(*backbone.layout.latent_shape)

    def error(steps: int) -> float:
        sigmas = sigma_schedule(steps, 3.0)
        noise = list(inverted_path(backbone, x, sigmas, text))[-1]
        back = denoise(noise, sigmas, lambda i, z, s, s_next: euler_step(z, backbone.velocity(z, s, text), s, s_next))
        return float((back - x).norm() / x.norm())

    coarse, fine = error(5), error(40)
    assert fine < 0.3 * coarse  # Euler is of first order: about an eighth
    assert fine < 0.1


def test_blend_keeps_unit_variance_and_its_ends() -> None:
    inverted, fresh = normal(200, 200), normal(200, 200, seed=1)
    assert torch.equal(Inversion(0.0).blend(inverted, fresh), fresh)
    assert torch.equal(Inversion(1.0).blend(inverted, fresh), inverted)
    half = Inversion(0.5).blend(inverted, fresh)
    assert float(half.std()) == pytest.approx(1, abs=0.02)
    assert float((half * inverted).mean()) == pytest.approx(math.sqrt(0.5), abs=0.02)


def convolutions() -> TemporalConvolutions:
    return TemporalConvolutions.initial(3, 5, 48, 8, Initial.kaiming, 0, CPU)


def problem(backbone: WanBackbone, adapter: Adapter) -> Losses:
    def phases(choices: Draw) -> Phases:
        with adapter.installed(backbone.blocks):
            x = seeded_noise(backbone.layout.latent_shape, choices.seed, CPU)
            yield "motion", mean_square(backbone.velocity(x, choices.sigma, backbone.embed("")))

    return phases


def frozen(backbone: WanBackbone) -> bool:
    modules = [backbone.transformer, backbone.vae]
    return all(not p.requires_grad and p.grad is None for module in modules for p in module.parameters()) and not any(
        m.training for module in modules for m in module.modules()
    )


def test_tuning_moves_adapters_alone_and_lowers_the_loss(backbone: WanBackbone) -> None:
    before = {name: p.clone() for name, p in backbone.transformer.named_parameters()}
    adapter, rows = convolutions(), []
    start = adapter.tensors()
    tune(backbone, {"motion": adapter}, problem(backbone, adapter), Tuning(30, 0.01, 3.0), on_iteration=rows.append)
    assert all(torch.equal(p, before[name]) for name, p in backbone.transformer.named_parameters())
    assert frozen(backbone)
    assert not any(block.module._forward_hooks for block in backbone.blocks)
    assert all(not torch.equal(value, start[name]) for name, value in adapter.parameters.items())
    losses = [row["loss"] for row in rows]
    assert [row["iteration"] for row in rows] == list(range(30))
    assert {row["step"] for row in rows} == {-1}
    assert set(rows[0]) == {"step", "iteration", "sigma", "loss", "grad_norm", "reused"}
    assert sum(losses[-8:]) < 0.6 * sum(losses[:8])


def test_passes_are_counted_as_they_happen(backbone: WanBackbone) -> None:
    adapter = convolutions()
    tune(backbone, {"motion": adapter}, problem(backbone, adapter), TUNING)
    assert (backbone.passes.block_forwards, backbone.passes.block_backwards, backbone.passes.gradients) == (18, 18, 6)
    late = convolutions()
    late.parameters = {name: p for name, p in late.parameters.items() if name.startswith("blocks.2")}
    late.changes = lambda i, block: TemporalConvolutions.changes(late, i, block) if i == 2 else iter(())
    tune(backbone, {"motion": late}, problem(backbone, late), TUNING)
    assert backbone.passes.block_backwards == 18 + 6  # the last block alone


def test_a_group_learns_from_its_own_loss_only(backbone: WanBackbone) -> None:
    one, two = (LoraSet.initial(backbone.blocks, False, 2, s, CPU, 0.0) for s in (0, 1))

    def phases(choices: Draw) -> Phases:
        with one.installed(backbone.blocks), two.installed(backbone.blocks):
            x = seeded_noise(backbone.layout.latent_shape, choices.seed, CPU)
            yield "two", mean_square(backbone.velocity(x, choices.sigma, backbone.embed("")))

    before = one.tensors()
    tune(backbone, {"one": one, "two": two}, phases, TUNING)
    assert all(torch.equal(value, before[name]) and value.grad is None for name, value in one.parameters.items())
    assert all(bool(value.any()) for value in two.parameters.values())


class Stopped(Exception):
    """An interruption."""


@pytest.mark.parametrize("stop", [0, 1, 3, 4])
@pytest.mark.parametrize("damage", [False, True])
def test_a_stopped_tuning_goes_on_to_the_same_parameters(
    backbone: WanBackbone, tmp_path: Path, stop: int, damage: bool
) -> None:
    def run(kept: TuningCheckpoint | None, stop: int | None = None) -> tuple[dict[str, Tensor], list[float]]:
        adapter = LoraSet.initial(backbone.blocks, False, 2, 0, CPU, drop=0.5)
        seen: list[float] = []

        def watch(row: dict[str, float]) -> None:
            seen.append(row["iteration"])
            if row["iteration"] == stop:
                raise Stopped

        try:
            tune(backbone, {"motion": adapter}, problem(backbone, adapter), TUNING, kept=kept, on_iteration=watch)
        except Stopped:
            assert not any(isinstance(m, LoraLayer) for m in backbone.transformer.modules())
        return adapter.tensors(), seen

    whole, _ = run(None)  # the global generator must not matter
    torch.manual_seed(6)
    file, cache = tmp_path / "key.safetensors", TensorCache(tmp_path)
    run(TuningCheckpoint(cache, "key"), stop)
    assert file.exists() == (stop >= 2)
    if damage and file.exists():
        file.write_bytes(file.read_bytes()[:-9])
    resumed, seen = run(TuningCheckpoint(cache, "key"))
    assert seen[0] == (0 if damage else stop // 2 * 2)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_global_generator_is_left_alone(backbone: WanBackbone) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    adapter = LoraSet.initial(backbone.blocks, False, 2, 0, CPU, drop=0.5)
    tune(backbone, {"motion": adapter}, problem(backbone, adapter), TUNING)
    assert torch.equal(torch.rand(3), expected)


def test_clipping_bounds_the_gradient(backbone: WanBackbone) -> None:
    """AdamW is indifferent to one scale for all gradients, but not to one that changes between them."""

    def run(clip: float) -> dict[str, Tensor]:
        adapter = convolutions()
        settings = Tuning(3, 0.01, 3.0, clip=clip)
        tune(backbone, {"motion": adapter}, problem(backbone, adapter), settings)
        return adapter.tensors()

    def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
        return all(torch.equal(a[name], b[name]) for name in a)

    assert equal(run(0.0), run(1e6))
    assert not equal(run(0.0), run(1e-3))


def test_divergence_is_an_error(backbone: WanBackbone, monkeypatch) -> None:
    adapter = convolutions()
    monkeypatch.setitem(globals(), "mean_square", lambda error: torch.nan * error.sum())
    with pytest.raises(FloatingPointError, match=r"tuning loss.*lower method\.tuning\.lr"):
        tune(backbone, {"motion": adapter}, problem(backbone, adapter), Tuning(4, 1e3, 3.0))
    assert frozen(backbone) and not any(m._forward_hooks for m in backbone.transformer.modules())


def test_gradient_checkpointing_changes_nothing(backbone: WanBackbone) -> None:
    def run() -> dict[str, Tensor]:
        adapter = LoraSet.initial(backbone.blocks, False, 2, 0, CPU, drop=0.5)
        tune(backbone, {"motion": adapter}, problem(backbone, adapter), TUNING)
        return adapter.tensors()

    plain, backwards = run(), backbone.passes.block_backwards
    backbone.transformer.enable_gradient_checkpointing()
    try:
        saved = run()
    finally:
        backbone.transformer.disable_gradient_checkpointing()
    assert backbone.passes.block_backwards == 2 * backwards
    for name, value in plain.items():
        torch.testing.assert_close(saved[name], value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("iterations", 0),
        ("lr", 0.0),
        ("lr", -1.0),
        ("shift", 0.0),
        ("weight_decay", -0.1),
        ("beta2", 1.0),
        ("clip", -1.0),
        ("seed", -1),
        ("checkpoint_every", 0),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"method\.tuning\.{setting}={value} is out of range"):
        Tuning(**({"iterations": 5, "lr": 0.1, "shift": 1.0} | {setting: value}))
    with pytest.raises(ValueError, match=r"inversion\.share=1\.5"):
        Inversion(1.5)
