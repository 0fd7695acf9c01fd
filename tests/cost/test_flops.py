"""Arithmetic of blocks and methods against numbers derived by hand and torch's own FLOP counter."""

from __future__ import annotations

import math

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fastvmt.backbones.layout import BlockShape, Layout
from fastvmt.construct import construct
from fastvmt.cost import flops
from fastvmt.cost.flops import block_backward, block_forward, transformer_flops
from fastvmt.methods.base import Method
from fastvmt.methods.motion_director import MotionDirector
from fastvmt.settings import Memory, Sampler
from fastvmt.tuning.inversion import Inversion
from fastvmt.tuning.loop import Tuning
from fastvmt.types import PassCounter
from helpers.config import composed

SMALL_WAN = {"1.3b": (BlockShape(1536, 8960, 512), 30), "14b": (BlockShape(5120, 13824, 512), 40)}


def wan(model: str, frames: int) -> Layout:
    """Wan at 480 x 832."""
    block, depth = SMALL_WAN[model]
    return Layout("wan", frames, 480, 832, depth, 4, 8, 16, (1, 2, 2), block.width // 128, block=block)


@pytest.mark.parametrize(
    ("model", "frames", "per_block", "attention", "whole", "backward"),
    [
        ("1.3b", 81, 9.43e12, 0.70, 283e12, 2.06),
        ("14b", 81, 41.96e12, 0.52, 1678e12, 1.80),
        ("1.3b", 29, 2.04e12, 0.47, 61.3e12, 1.73),
        ("14b", 29, 10.83e12, 0.29, 433e12, 1.46),
    ],
)
def test_flops_of_wan(model, frames, per_block, attention, whole, backward):
    block, depth = SMALL_WAN[model]
    layout = wan(model, frames)
    tokens = layout.grid[0] * layout.grid[1] * layout.grid[2]
    assert tokens == (32760 if frames == 81 else 12480)
    assert block_forward(block, tokens) == pytest.approx(per_block, rel=2e-3)
    assert flops.attention(block, tokens) / block_forward(block, tokens) == pytest.approx(attention, abs=5e-3)
    passes = PassCounter(block_forwards=depth, block_backwards=depth)
    total = transformer_flops(layout, passes)
    assert total["forward"] == pytest.approx(whole, rel=2e-3)
    assert total["backward"] / total["forward"] == pytest.approx(backward, abs=6e-3)
    assert total["total"] == total["forward"] + total["backward"]


Readings = list[tuple[int, int | None]]
"""How often the reference is read, and through how many blocks (None: all): passes that ``budget`` leaves out."""
BY_HAND: dict[str, tuple[Readings, list[float]]] = {
    "fastvmt": ([], [1.57, 1.39, 1.51, 1.35]),  # kept from another prompt
    "fastvmt guidance.block=14": ([(10, 14)], [1.62, 1.43, 1.56, 1.38]),  # read here
    "fastvmt skip.delta=1": ([], [2.43, 1.98, 2.27, 1.86]),
    "fastvmt skip.delta=1 guidance.block=14": ([(10, 14)], [2.48, 2.02, 2.32, 1.90]),
    "fastvmt guidance.diagnostics=true": ([], [2.34, 1.90, 2.16, 1.75]),  # three backward passes a gradient
    "fastvmt guidance.source=pass": ([], [1.10, 1.06, 1.08, 1.05]),  # no forwards of its own
    "fastvmt experiment=fast": ([], [0.85, 0.81, 0.83, 0.80]),
    "none sampler.negative_every=2": ([], [0.75, 0.75, 0.75, 0.75]),
    "ditflow": ([(1, 14)], [1.74, 1.51, 1.66, 1.44]),
    "moft": ([(1, 15)], [1.77, 1.53, 1.69, 1.46]),
    "moft method.iterations=2": ([(1, 15)], [1.31, 1.21, 1.28, 1.19]),
    "smm method.fraction=0.2": ([(10, 15)], [2.58, 2.09, 2.41, 1.96]),
    "smm method.fraction=0.2 method.iterations=5": ([(10, 15)], [1.82, 1.56, 1.73, 1.50]),
    "smm method.restart=true": ([(20, 15), (50, None)], [5.64, 4.65, 5.31, 4.40]),  # inverted first
    "motionclone method.fraction=0.2": ([(1, 14)], [1.10, 1.07, 1.09, 1.06]),
    "motionclone": ([(1, 14)], [1.25, 1.16, 1.21, 1.13]),
    "flowmotion": ([(10, None)], [1.70, 1.70, 1.70, 1.70]),
    "flowmotion method.representation=clean_latent": ([], [1.60, 1.60, 1.60, 1.60]),
}
"""The cost over plain sampling, derived by hand for 1.3B and 14B with 81 frames, 1.3B and 14B with 29."""
TUNED: dict[str, tuple[int, list[float]]] = {
    "motion_director method.inversion.share=0.5": (300, [13.8, 13.1, 13.3, 12.6]),
    "motion_inversion method.inversion.share=0.5": (400, [17.8, 16.7, 16.4, 15.3]),
    "det": (500, [21.3, 20.0, 19.6, 18.3]),
}
"""Iterations, and the same cost with them."""
COLUMNS = [("wan_1_3b", 81), ("wan_14b", 81), ("wan_1_3b", 29), ("wan_14b", 29)]


def declared(row: str, model: str, frames: int) -> tuple[Method, PassCounter, Layout]:
    """The method of a row, its budget on Wan, and that model's sizes."""
    option, *changes = row.split()
    cfg = composed(f"method={option}", f"backbone={model}", *changes)
    layout = wan(model.removeprefix("wan_").replace("_", "."), frames)
    method = construct(cfg.method, "method")
    assert (cfg.sampler.steps, cfg.sampler.cfg_scale) == (50, 5.8)
    return method, method.budget(layout, OmegaConf.to_object(cfg.sampler)), layout


def over_plain(cost: float, layout: Layout) -> float:
    return cost / transformer_flops(layout, Method().budget(layout, Sampler()))["total"]


@pytest.mark.parametrize("row", BY_HAND)
def test_declared_budgets_cost_what_was_derived_by_hand(row):
    """Within 0.01: half of it rounds two decimals; the projections to the queries and keys that a method reads,
    which the count leaves out, are at most 0.003."""
    readings, expected = BY_HAND[row]
    for (model, frames), ratio in zip(COLUMNS, expected, strict=True):
        _, passes, layout = declared(row, model, frames)
        passes.block_forwards += sum(times * (blocks or layout.depth) for times, blocks in readings)
        cost = transformer_flops(layout, passes)["total"]
        if row == "ditflow":  # its dense flow: N x N logits of the full width, twice that backwards
            cost += passes.gradients * 3 * 2 * math.prod(layout.grid) ** 2 * layout.block.width
        assert over_plain(cost, layout) == pytest.approx(ratio, abs=0.01), (model, frames)


@pytest.mark.parametrize("row", TUNED)
def test_declared_tunings_cost_what_was_derived_by_hand(row):
    """Within 0.06: nearly all of it rounds one decimal.

    By hand every gradient flows through all blocks and, under checkpointing, every forward of the tuning runs twice.
    Motion Inversion's gradients stop at its first embedded block, below which nothing depends on the embeddings.
    """
    iterations, expected = TUNED[row]
    for (model, frames), ratio in zip(COLUMNS, expected, strict=True):
        method, passes, layout = declared(row, model, frames)
        tuning = method.tuning_passes(layout)
        assert tuning.block_forwards - tuning.image_forwards == iterations * layout.depth
        passes.block_forwards += tuning.block_forwards
        passes.image_forwards += tuning.image_forwards
        if row.startswith("motion_inversion"):
            assert tuning.block_backwards == iterations * (layout.depth - method.blocks[0])
            passes.block_backwards += iterations * method.blocks[0]
        cost = transformer_flops(layout, passes)["total"]
        assert over_plain(cost, layout) == pytest.approx(ratio, abs=0.06), (model, frames)


def test_passes_over_one_frame_cost_one_frame():
    """MotionDirector on Wan 1.3B: 300 whole clips, as many images, of 1560 tokens, and plain sampling."""
    block, depth = SMALL_WAN["1.3b"]
    layout = wan("1.3b", 81)
    method = MotionDirector(Tuning(iterations=300, lr=5e-4, shift=7.0), Inversion(), skip_spatial=0.0)
    total = transformer_flops(layout, method.budget(layout, Sampler()))
    images, clips = (300 * depth * (block_forward(block, n) + block_backward(block, n)) for n in (1560, 32760))
    assert total["total"] == pytest.approx(clips + images + 100 * depth * block_forward(block, 32760))
    assert 0.005 < images / clips < 0.02


def test_flops_of_a_block_equal_torchs_count(pipeline, backbone):
    transformer = pipeline.transformer.requires_grad_(False)
    block, text_tokens, tokens = transformer.blocks[0], 16, 5 * 6 * 6
    shape = backbone.layout.block
    assert shape == BlockShape(48, 64, text_tokens)
    hidden = torch.randn(1, tokens, 48, requires_grad=True)
    rotary = transformer.rope(torch.zeros(1, 4, 5, 12, 12))
    with sdpa_kernel(SDPBackend.MATH):  # its products are counted one by one
        with FlopCounterMode(display=False) as forward:
            out = block(hidden, torch.randn(1, text_tokens, 48), torch.randn(1, 6, 48), rotary)
        with FlopCounterMode(display=False) as backward:
            out.sum().backward()
    assert forward.get_total_flops() == block_forward(shape, tokens)
    # unfused: two products per product of self-attention; of cross-attention, nothing for the text
    unfused = flops.linear(shape, tokens) + 2 * flops.attention(shape, tokens)
    unfused += flops.cross_attention(shape, tokens)
    assert backward.get_total_flops() == unfused


@pytest.mark.parametrize("model", ["loaded_backbone", "loaded_cogvideox"])
def test_flops_of_presets_differ_by_what_they_compute_again(model: str, request: pytest.FixtureRequest) -> None:
    """Of a reading with its gradient, by torch's count. Fused attention on the CPU is none of its products: of ``low``
    it is counted unfused, where ``balanced`` would compute it again."""
    backbone = request.getfixturevalue(model)
    text, block, tokens = backbone.embed(""), backbone.layout.block, math.prod(backbone.layout.grid)

    def total(memory: Memory, fused: bool) -> int:
        backbone.remember(memory)
        x = torch.zeros(backbone.layout.latent_shape, requires_grad=True)
        kernels = [SDPBackend.FLASH_ATTENTION] if fused else [SDPBackend.MATH]
        with sdpa_kernel(kernels), FlopCounterMode(display=False) as counter:
            backbone.hidden(x, 0.7, text, 1).sum().backward()
        return int(counter.get_total_flops())

    try:
        again = {memory: total(memory, fused) - total(Memory.fast, fused) for memory, fused in PRESETS}
    finally:
        backbone.remember(Memory.fast)
    for memory in again:
        times = 2 * flops.block_recompute(block, tokens, memory)
        modulation = 0.01 * times if block.joint else 0  # its products of the time, not of tokens, are left out
        assert times <= again[memory] <= times + modulation, memory


PRESETS = [(Memory.balanced, True), (Memory.low, False)]
"""And whether attention is fused."""


def test_recompute_is_part_of_the_total() -> None:
    passes = PassCounter(block_forwards=30, block_backwards=14, gradients=1)
    fast, balanced, low = (transformer_flops(wan("1.3b", 81), passes, memory) for memory in Memory)
    assert fast["recompute"] == 0
    assert balanced["recompute"] / low["recompute"] == pytest.approx(0.0656, rel=0.01)
    assert low["recompute"] == pytest.approx(14 / 30 * low["forward"])
    for each in (fast, balanced, low):
        assert each["total"] == each["forward"] + each["backward"] + each["recompute"]
