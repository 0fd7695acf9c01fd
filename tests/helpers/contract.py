"""What the tests of ``tests/methods/contract`` share: the options, their variants, and how to run one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache
from fastvmt.config import config_folder
from fastvmt.engine.plan import Plan
from fastvmt.methods.transfer import transfer_case
from fastvmt.types import TransferResult
from helpers.architectures import Architecture
from helpers.transfers import remains

Model = tuple[Architecture, Path]
"""An architecture and the folder of its random model."""
OPTIONS = sorted(file.stem for file in (config_folder() / "method").glob("*.yaml"))
VARIANTS: dict[str, list[str]] = {
    "fastvmt": [
        "guidance.reference_noise=1.0",
        "guidance.reference_noise=0.93",
        "guidance.rope=true",
        "guidance.source=pass",
        "guidance.diagnostics=true guidance.window_weight=1.0",
        "guidance.diagnostics=true guidance.window_weight=1.0 guidance.source=pass",
        "skip.delta=1 skip.predict=linear",
    ],
    "ditflow": [
        "method.target=embedding",
        "method.inject=true",
        "method.target=embedding method.inject=true",
        "method.displacement=expectation",
    ],
    "moft": ["method.reference_noise=1.0"],
    "smm": [
        "method.ref=matched",
        "method.init=highfreq",
        "method.restart=true",
        "method.ref=rf_inversion method.init=highfreq",
    ],
    "motionclone": ["method.exclude_self=true", "method.rope=true"],
    "motion_director": ["method.feed_forward=true", "method.inversion.share=0.5"],
    "flowmotion": ["method.representation=clean_latent"],
}
"""Settings that take another path through a method, alone or together; an option without any is checked as it comes."""
NEEDED = {"sdedit": ["sampler.strength=0.7"]}
"""Settings without which an option is refused."""
OWN = {"smm": ["method.ref=clean"], "motionclone": ["method.weight=2000"]}
"""Settings of tiny-wan's preset that are wanted for all models, or for none: to read the reference at one noise level,
beside ``guidance.reference_noise``; the paper's weight, since tiny-wan's lets the latents of random models diverge."""
ROTATING = ("guidance.rope=true", "method.target=embedding", "method.rope=true")
"""Settings that need a rotary embedding, which not every model has."""
CASES = [(option, change) for option in OPTIONS for change in ["", *VARIANTS.get(option, [])]]
SMALL = {"iterations": 2, "fraction": 0.5, "tuning.iterations": 2, "blocks": [1]}
"""Applied to the keys of a method that has them, so that a transfer is short."""
STEPS = 4
"""Denoising steps of all plans here, the first half of them guided."""


def left_in(backbone: Backbone) -> list[object]:
    """What a transfer could leave in any transformer of a model."""
    return [remains(transformer) for transformer, _ in backbone.experts]


def transfer_first(backbone: Backbone, plan: Plan, folder: Path | None = None, **hooks: Callable) -> TransferResult:
    """``transfer_case`` of a plan's first case."""
    return transfer_case(backbone, plan.method, plan.sampler, plan.cases[0], TensorCache(folder), **hooks)
