"""Golden transfers of what the methods' own leave out: other gradients, other windows, single switches, solvers.

All are of the random model and share ``SHARED``, so that two equal ones tell of words that do nothing: the window loss
acts, a gradient is extrapolated, and the learning rate falls.
"""

from __future__ import annotations

SETTING = "random_wan"
SHARED = (
    "benchmark=demo",
    "backbone.path={random_wan}",
    "backbone.height=48",
    "backbone.width=48",
    "guidance.block=1",
    "guidance.fraction=0.5",
    "guidance.iterations=4",
    "guidance.lr_end=0.01",
    "guidance.window_weight=0.1",
    "sampler.steps=4",
    "skip.delta=2",
    "window.sf=3",
    "device=cpu",
    "metrics=none",
)
VARIANTS = {
    "window_loss": [],
    "shared_pass": ["guidance.source=pass"],
    "negative_every": ["sampler.negative_every=2"],
    "fast": ["guidance.source=pass", "sampler.negative_every=2"],
    "dense": ["window.l=0"],
    "start": ["sampler.strength=0.75"],
    "linear": ["skip.predict=linear"],
    "unipc": ["sampler.name=unipc"],
    "dpmpp": ["sampler.name=dpmpp"],
    "papers_numbers": ["preset=none", "window.l=3"],
}
"""Of FastVMT."""
SWITCHES = {
    "head_reduce": "official_scramble",
    "window_clamp": "positions",
    "offset": "missing",
    "parity": "zero_coord",
    "key_mean": "channels",
    "window_norm": "plain",
    "self_pairs": "true",
    "pair_range": "code",
    "spatial_reduction": "sum",
    "latent_dtype": "bfloat16",
    "timestep_dtype": "bfloat16",
    "ref_noise": "init",
}
"""Of its released code, one at a time."""


def paths() -> dict[str, list[str]]:
    """By ``method:variant/setting``: the overrides of a transfer."""
    words = {f"fastvmt:{name}": ["method=fastvmt", *own] for name, own in VARIANTS.items()} | {
        f"fastvmt_released:{name}": ["method=fastvmt_released", f"method.switches.{name}={value}"]
        for name, value in SWITCHES.items()
    }
    return {f"{name}/{SETTING}": [*own[:1], *SHARED, *own[1:]] for name, own in words.items()}
