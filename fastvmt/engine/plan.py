"""From a composed configuration to checked objects, before any weight loads."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from fastvmt.backbones.attention import ATTENTIONS
from fastvmt.backbones.base import NAMED_PROMPTS
from fastvmt.backbones.layout import Layout
from fastvmt.benchmarks import Benchmark, check_seeds
from fastvmt.cache import TensorCache
from fastvmt.config import Config, Logger, Provenance, Table, Trainer, objectives
from fastvmt.construct import check_arguments, class_of, construct
from fastvmt.engine.cases import check_clip, make_cases
from fastvmt.engine.marks import Marks, read_marks
from fastvmt.engine.resources import check_names
from fastvmt.engine.shortcuts import check_shortcuts
from fastvmt.errors import UserError
from fastvmt.methods.base import Method
from fastvmt.methods.requirements import check_solver
from fastvmt.score.registry import entries
from fastvmt.score.requirements import check_settings
from fastvmt.settings import (
    LARGEST_COUNT,
    LARGEST_SIDE,
    Guidance,
    Memory,
    Sampler,
    Skip,
    Window,
    check,
    check_choice,
    check_range,
    check_rate,
    check_scored_frames,
    check_seed,
)
from fastvmt.studies.quantities import KNOWN, RATIO
from fastvmt.trackers.base import Tracker
from fastvmt.trackers.cached import CachedTracker

DTYPES = ("bfloat16", "float16", "float32")
"""Number formats of the transformer and the text encoder."""
MOST_DEVICES = 1000


@dataclass(frozen=True)
class Plan:
    """A validated run."""

    cfg: DictConfig
    layout: Layout
    method: Method
    sampler: Sampler
    window: Window
    guidance: Guidance
    cases: Benchmark
    marks: Marks


def make_tracker(cfg: DictConfig, cache: TensorCache) -> Tracker:
    """The chosen tracker; its tracks are kept below ``cache``."""
    tracker: Tracker = construct(cfg.tracker, "tracker")
    return tracker if cache.folder is None else CachedTracker(tracker, cache.below("tracks"))


def cache_of(cfg: DictConfig) -> TensorCache:
    """The cache of a configuration."""
    return TensorCache(None if cfg.cache_dir is None else Path(cfg.cache_dir))


def check_keys(cfg: DictConfig) -> None:
    """Reject keys that ``+key=value`` smuggled past the schema."""
    groups: dict[str, type] = {
        "window": Window,
        "skip": Skip,
        "guidance": Guidance,
        "sampler": Sampler,
        "logger": Logger,
        "trainer": Trainer,
        "provenance": Provenance,
        "table": Table,
    }
    for prefix, node, schema in [("", cfg, Config), *((f"{name}.", cfg[name], kind) for name, kind in groups.items())]:
        known = sorted(f.name for f in dataclasses.fields(schema))
        for key in node:
            if key not in known:
                raise UserError(f"{prefix}{key} is not a key; known: {', '.join(prefix + name for name in known)}")


def read_layout(backbone: DictConfig) -> Layout:
    """What the backbone's class says about the model in its folder, without weights."""
    kind: Any = class_of(backbone, "backbone")
    layout: Layout = kind.layout_of(**{str(key): value for key, value in backbone.items() if key != "_target_"})
    return layout


def check_negative(cfg: DictConfig, name: str) -> None:
    """Raise ``ValueError`` for the name of another model's negative prompt."""
    kind: Any = class_of(cfg.backbone, "backbone")
    word = cfg.negative_prompt
    if word in NAMED_PROMPTS and word not in kind.negative_prompts:
        raise ValueError(
            f"negative_prompt={word} stands for {NAMED_PROMPTS[word]}, and {name} is another model: write one out"
        )


def check_offload(backbone: DictConfig) -> None:
    """Raise ``ValueError`` for weights that wait on the CPU where gradients would keep them on the device."""
    waits = backbone.get("offload", False)
    check_choice("backbone.offload", waits, (True, False))
    legal = "false with backbone.memory=fast, whose gradients keep the weights; set backbone.memory=balanced"
    check(not waits or backbone.get("memory") != Memory.fast.value, "backbone.offload", waits, legal)
    legal = "false with backbone.compile, whose blocks keep their weights; set backbone.compile=none"
    check(not waits or backbone.get("compile", "none") == "none", "backbone.offload", waits, legal)


def check_objective(wanted: Any) -> None:
    """Raise ``ValueError`` for an objective that is neither a name nor a list of names."""
    listed = isinstance(wanted, ListConfig) and len(wanted) > 0 and all(isinstance(each, str) for each in wanted)
    legal = "a score's column, or a list of them, with loop_ratio, e.g. [motion_fidelity,loop_ratio]"
    check(isinstance(wanted, str) or listed, "objective", wanted, legal)


def check_columns(cfg: DictConfig) -> None:
    """Raise ``ValueError`` for a column of the table, or an objective, that no score writes and no cost is.

    Likewise for a part of the table whose words are no list.
    """
    scores = [column for entry in entries().values() for column in entry.columns]
    for name in objectives(cfg):
        check_choice("objective", name, (*scores, RATIO))
    for key, names in (("table.score", [cfg.table.score]), ("table.columns", cfg.table.columns)):
        for name in names:
            check_choice(key, name, (*scores, *KNOWN))
    for part, words in cfg.table.parts.items():
        listed = isinstance(words, ListConfig) and all(isinstance(word, str) for word in words)
        check(listed, f"table.parts.{part}", words, "a list of words, e.g. [camera-], or [] for the other cases")


def check_values(cfg: DictConfig) -> None:
    """Raise ``ValueError`` for a seed, rate, length, number format, device or number of devices that cannot be."""
    check_seed("seed", cfg.seed)
    check_objective(cfg.objective)
    check_columns(cfg)
    check_seeds(None if cfg.seeds is None else list(cfg.seeds))
    check(cfg.seeds is None or cfg.seed == 0, "seed", cfg.seed, "0, the default, where seeds= lists them")
    devices = cfg.trainer.devices
    numbers = list(devices) if isinstance(devices, ListConfig) else []
    several = bool(numbers) and all(type(each) is int and 0 <= each < MOST_DEVICES for each in numbers)
    legal = devices == "auto" or several or (type(devices) is int and 1 <= devices <= MOST_DEVICES)
    what = f"a count from 1 to {MOST_DEVICES}, a list of devices' numbers below that, or auto"
    check(legal and len(set(numbers)) == len(numbers), "trainer.devices", devices, what)
    if cfg.fps is not None:
        check_rate("fps", cfg.fps)
    if cfg.checkpoint_steps is not None:
        check_range("checkpoint_steps", cfg.checkpoint_steps, 1, LARGEST_COUNT)
    if cfg.threads is not None:
        check_range("threads", cfg.threads, 1, os.cpu_count() or 1)
    fps = cfg.backbone.get("fps", 1)
    tokens = cfg.backbone.get("max_tokens", 1)
    for side, most in (("frames", LARGEST_COUNT), ("height", LARGEST_SIDE), ("width", LARGEST_SIDE)):
        check_range(f"backbone.{side}", cfg.backbone.get(side, 1), 1, most)
    check_rate("backbone.fps", fps)
    check_range("backbone.max_tokens", tokens, 1, LARGEST_COUNT)
    dtype = cfg.backbone.get("dtype", DTYPES[0])
    check_choice("backbone.dtype", dtype, DTYPES)
    check_choice("backbone.memory", cfg.backbone.get("memory", "fast"), [preset.value for preset in Memory])
    check_offload(cfg.backbone)
    check_choice("backbone.attention", cfg.backbone.get("attention", "native"), ATTENTIONS)
    for key in ("backbone.device", "metrics.device", "tracker.device"):
        name = str(OmegaConf.select(cfg, key, default="auto"))
        known = re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", name)
        check(known is not None, key, name, "auto, cpu, cuda or cuda:<number>, for all parts with device=<name>")


def check_picture(guidance: Guidance, layout: Layout) -> None:
    """Raise ``ValueError`` for a block that the model lacks: motion.png of every method is read there."""
    layout.check_block(guidance.block, "guidance.block")
    if guidance.rope:
        layout.check_rotary("guidance.rope=true")


def check_scores(metrics: DictConfig) -> None:
    """Raise ``ValueError`` for settings of the scores that cannot be; their files are not looked for."""
    clip, weights = (dict(metrics.get(key) or {}) for key in ("clip", "weights"))
    check_settings(metrics.names, metrics.get("also", ()), clip, weights, metrics.get("on_missing", "error"))


def make_plan(cfg: DictConfig) -> Plan:
    """Check everything that can be checked without weights. Raises :class:`UserError`."""
    check_keys(cfg)
    check_names(cfg)
    check_clip(cfg)
    try:
        check_arguments(cfg.backbone, "backbone", ("embeddings", "prompts"))
        check_arguments(cfg.tracker, "tracker")
        check_arguments(cfg.metrics, "metrics", ("tracker",))
        check_values(cfg)
        check_scores(cfg.metrics)
        numbers: dict[str, Any] = {n: OmegaConf.to_object(cfg[n]) for n in ("window", "guidance", "sampler", "skip")}
        layout = read_layout(cfg.backbone)
        check_negative(cfg, layout.name)
        method = construct(cfg.method, "method")
        method.requirements(layout)
        check_solver(numbers["sampler"].name, method.repeats, layout)
        check_shortcuts(cfg, method, numbers["sampler"])
        check_picture(numbers["guidance"], layout)
        scale = numbers["sampler"].cfg_scale_2
        one = f"null: {layout.name} has one transformer, whose guidance scale is sampler.cfg_scale"
        check(scale is None or layout.boundary is not None, "sampler.cfg_scale_2", scale, one)
        strength = numbers["sampler"].strength
        legal = f"below 1 for method={method.name}, e.g. 0.75; from pure noise it is method=none"
        check(strength < 1 or not method.needs_strength, "sampler.strength", strength, legal)
        if (scored := cfg.metrics.get("frames")) is not None:
            check_scored_frames(scored, layout.frames, "a video of backbone.frames")
        marks = read_marks(cfg.provenance, layout)
        cases = make_cases(cfg, layout)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    return Plan(cfg, layout, method, numbers["sampler"], numbers["window"], numbers["guidance"], cases, marks)
