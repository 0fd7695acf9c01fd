"""From a composed configuration to checked objects, before any weight loads."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from fastvmt.backbones.layout import Layout
from fastvmt.benchmarks import Benchmark, SingleClip
from fastvmt.cache import TensorCache
from fastvmt.config import Config, Logger, Trainer
from fastvmt.methods.base import Method
from fastvmt.settings import Guidance, Sampler, Skip, Window, check
from fastvmt.trackers.base import Tracker
from fastvmt.trackers.cached import CachedTracker

DTYPES = ("bfloat16", "float16", "float32")
"""Number formats of the transformer and the text encoder."""


class UserError(Exception):
    """A setting or input that the user can mend; shown as one line."""


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


def mistyped(value: object, hint: Any) -> str | None:
    """The types that a hint of plain ones allows, if ``value`` is of none of them."""
    allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if not set(allowed) <= {int, float, str, bool, type(None)}:
        return None
    fits = type(value) in allowed or (type(value) is int and float in allowed)
    return None if fits else " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)


def check_arguments(node: DictConfig, group: str, given: Container[str] = ()) -> None:
    """The signature of a group's constructor is its schema; ``given`` are the arguments that the program gives."""
    if node is None or "_target_" not in node:
        raise UserError(f"{group} is not chosen: set {group}=<option>, see python run.py --help")
    target = get_class(node._target_)
    try:
        known = inspect.signature(target, eval_str=True).parameters
    except NameError:  # annotations that exist for type checkers only stay strings, which no value is held against
        known = inspect.signature(target).parameters
    for key, value in node.items():
        name = str(key)
        if name == "_target_":
            continue
        if name not in known:
            legal = ", ".join(sorted(each for each in known if each not in given))
            raise UserError(f"{group}.{name} is not a key of {group}; it has {legal}")
        if (wanted := mistyped(value, known[name].annotation)) is not None:
            raise UserError(f"{group}.{name}={value} is out of range: it must be {wanted}")


def construct(node: DictConfig, group: str, **extra: Any) -> Any:
    """Instantiate a group of code."""
    check_arguments(node, group, extra)
    try:
        return instantiate(node, _convert_="object", **extra)
    except InstantiationException as error:
        cause = error.__cause__ or error
        wrong = f"{group} has a value of a wrong type: " if isinstance(cause, TypeError) else ""
        raise UserError(f"{wrong}{cause}") from error


def make_tracker(cfg: DictConfig) -> Tracker:
    """The chosen tracker; its tracks are kept below ``cache_dir``."""
    tracker: Tracker = construct(cfg.tracker, "tracker")
    return tracker if cfg.cache_dir is None else CachedTracker(tracker, TensorCache(Path(cfg.cache_dir) / "tracks"))


def check_keys(cfg: DictConfig) -> None:
    """Reject keys that ``+key=value`` smuggled past the schema."""
    groups: dict[str, type] = {
        "window": Window,
        "skip": Skip,
        "guidance": Guidance,
        "sampler": Sampler,
        "logger": Logger,
        "trainer": Trainer,
    }
    for prefix, node, schema in [("", cfg, Config), *((f"{name}.", cfg[name], kind) for name, kind in groups.items())]:
        known = sorted(f.name for f in dataclasses.fields(schema))
        for key in node:
            if key not in known:
                raise UserError(f"{prefix}{key} is not a key; known: {', '.join(prefix + name for name in known)}")


def check_clip(cfg: DictConfig) -> None:
    """Rules of the user's own clip."""
    if cfg.video is None:
        if cfg.benchmark.get("_target_", "").endswith(".SingleClip"):
            raise UserError('benchmark=single is one clip of your own: add video=<file> prompt="a dog on grass"')
        for key in ("prompt", "negative_prompt", "reference_prompt", "fps", "start", "frame_policy"):
            if cfg[key] != getattr(Config, key):
                raise UserError(f"{key}= needs video=<file>: without it the cases and prompts come from the benchmark")
        return
    if not (cfg.prompt or "").strip():
        raise UserError('video= needs a prompt: add prompt="a dog on grass"')
    if not Path(cfg.video).expanduser().exists():
        raise UserError(f"video={cfg.video} does not exist: give a video file or a folder of pictures")


def make_cases(cfg: DictConfig, layout: Layout) -> Benchmark:
    """The user's clip, or the chosen benchmark."""
    fps = cfg.backbone.fps
    if cfg.video is None:
        chosen: Benchmark = construct(cfg.benchmark, "benchmark", layout=layout, fps=fps, sample_seed=cfg.seed)
        return chosen
    return SingleClip(
        layout,
        fps,
        cfg.seed,
        video=cfg.video,
        prompt=cfg.prompt,
        negative_prompt=cfg.negative_prompt,
        reference_prompt=cfg.reference_prompt,
        sample_fps=cfg.fps,
        start=cfg.start,
        frame_policy=cfg.frame_policy,
    )


def read_layout(backbone: DictConfig) -> Layout:
    """What the backbone's class says about the model in its folder, without weights."""
    kind: Any = get_class(backbone._target_)
    layout: Layout = kind.layout_of(**{str(key): value for key, value in backbone.items() if key != "_target_"})
    return layout


def check_values(cfg: DictConfig) -> None:
    """Raise ``ValueError`` for a seed, rate, length, number format, device or number of devices that cannot be."""
    check(0 <= cfg.seed < 2**32, "seed", cfg.seed, "in [0, 4294967295]")
    devices = cfg.trainer.devices
    several = isinstance(devices, ListConfig) and len(devices) > 0 and all(type(each) is int for each in devices)
    legal = devices == "auto" or several or (type(devices) is int and devices >= 1)
    check(legal, "trainer.devices", devices, "a count from 1, a list of devices, or auto")
    fps, tokens = cfg.backbone.get("fps", 1), cfg.backbone.get("max_tokens", 1)
    check(fps > 0, "backbone.fps", fps, "above 0")
    check(tokens >= 1, "backbone.max_tokens", tokens, "at least 1")
    dtype = cfg.backbone.get("dtype", DTYPES[0])
    check(dtype in DTYPES, "backbone.dtype", dtype, f"one of {', '.join(DTYPES)}")
    for key in ("backbone.device", "metrics.device"):
        name = str(OmegaConf.select(cfg, key, default="auto"))
        known = re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name)
        check(known is not None, key, name, "auto, cpu, cuda or cuda:<number>, for all parts with device=<name>")


def make_plan(cfg: DictConfig) -> Plan:
    """Check everything that can be checked without weights. Raises :class:`UserError`."""
    check_keys(cfg)
    check_clip(cfg)
    try:
        check_arguments(cfg.backbone, "backbone")
        check_arguments(cfg.tracker, "tracker")
        check_arguments(cfg.metrics, "metrics", ("tracker",))
        check_values(cfg)
        numbers: dict[str, Any] = {n: OmegaConf.to_object(cfg[n]) for n in ("window", "guidance", "sampler", "skip")}
        layout = read_layout(cfg.backbone)
        method = construct(cfg.method, "method")
        method.requirements(layout)
        strength = numbers["sampler"].strength
        legal = f"below 1 for method={method.name}, e.g. 0.75; from pure noise it is method=none"
        check(strength < 1 or not method.needs_strength, "sampler.strength", strength, legal)
        if not 2 <= (scored := cfg.metrics.get("frames") or layout.frames) <= layout.frames:
            raise ValueError(f"metrics.frames={scored} must be in [2, {layout.frames}], backbone.frames, or null")
        cases = make_cases(cfg, layout)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    return Plan(cfg, layout, method, numbers["sampler"], numbers["window"], numbers["guidance"], cases)
