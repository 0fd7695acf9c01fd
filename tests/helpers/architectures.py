"""Random small models, one per architecture, on which every method's contract is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments.random_folder import save_random_wan
from helpers.random_models import save_random_cogvideox, save_random_wan22


@dataclass(frozen=True)
class Architecture:
    """How to make a model of at least three blocks, and how to run it with clips of 9 frames."""

    save: Callable[[Path], Path]
    """Writes the model's folder and returns it."""
    overrides: tuple[str, ...]
    """Of the configuration, beside ``backbone.path`` and the clip's size."""
    first: str
    """A layer of ``backbone.transformer`` that every reading runs."""


SMALL = ("backbone.frames=9", "backbone.max_tokens=16", "backbone.dtype=float32", "backbone.memory=fast")
ARCHITECTURES = {
    "wan": Architecture(save_random_wan, ("backbone=tiny_wan", "backbone.max_tokens=16"), "blocks.0.attn1.to_k"),
    "wan22_a14b": Architecture(
        partial(save_random_wan22, experts=True), ("backbone=wan22_a14b", *SMALL), "blocks.0.attn1.to_k"
    ),
    "wan22_ti2v_5b": Architecture(
        partial(save_random_wan22, experts=False), ("backbone=wan22_ti2v_5b", *SMALL), "blocks.0.attn1.to_k"
    ),
    "cogvideox_5b": Architecture(
        save_random_cogvideox, ("backbone=cogvideox_5b", *SMALL), "transformer_blocks.0.attn1.to_k"
    ),
    "cogvideox_2b": Architecture(
        partial(save_random_cogvideox, rotary=False),
        ("backbone=cogvideox_2b", *SMALL),
        "transformer_blocks.0.attn1.to_k",
    ),
}
