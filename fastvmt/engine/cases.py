"""The cases of a configuration: the user's clip, or those of the chosen benchmark."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fastvmt.backbones.layout import Layout
from fastvmt.benchmarks import Benchmark, Seeds, SingleClip
from fastvmt.config import Config, config_folder
from fastvmt.construct import class_of, construct
from fastvmt.errors import UserError

CLIP = ("prompt", "negative_prompt", "reference_prompt", "fps", "start", "frame_policy", "cut_policy")
"""Keys that describe ``video``."""


def is_single(cfg: DictConfig) -> bool:
    """Whether the chosen benchmark is one clip of the user's."""
    node = cfg.benchmark
    return node is not None and "_target_" in node and class_of(node, "benchmark") is SingleClip


def check_clip(cfg: DictConfig) -> None:
    """Rules of the user's own clip."""
    for key in ("video", *CLIP):
        if OmegaConf.is_missing(cfg, key):
            raise UserError(f"{key}=??? is no value: give {key}=<value>")
    if cfg.video is None:
        if is_single(cfg):
            raise UserError('benchmark=single is one clip of your own: add video=<file> prompt="a dog on grass"')
        for key in CLIP:
            if cfg[key] != getattr(Config, key):
                raise UserError(f"{key}= needs video=<file>: without it the cases and prompts come from the benchmark")
        return
    if not (cfg.prompt or "").strip():
        raise UserError('video= needs a prompt: add prompt="a dog on grass"')
    if not Path(cfg.video).expanduser().exists():
        raise UserError(f"video={cfg.video} does not exist: give a video file or a folder of pictures")


def chosen(cfg: DictConfig) -> DictConfig:
    """The node of the benchmark: a clip of the user's, where there is one, goes before the benchmark."""
    if cfg.video is not None and not is_single(cfg):
        cfg = cfg.copy()
        OmegaConf.update(cfg, "benchmark", OmegaConf.load(config_folder() / "benchmark" / "single.yaml"), merge=False)
    node: DictConfig = cfg.benchmark
    return node


def make_cases(cfg: DictConfig, layout: Layout) -> Benchmark:
    """The cases. Raises ``ValueError`` or ``FileNotFoundError`` for a clip or a list that does not fit."""

    def started(seed: int) -> Benchmark:
        cases: Benchmark = construct(chosen(cfg), "benchmark", clip=layout.clip, fps=cfg.backbone.fps, sample_seed=seed)
        return cases

    return started(cfg.seed) if cfg.seeds is None else Seeds({seed: started(seed) for seed in cfg.seeds})


def checked_cases(cfg: DictConfig, layout: Layout) -> Benchmark:
    """The cases, the keys of ``video`` checked. Raises :class:`UserError` for what does not fit."""
    check_clip(cfg)
    try:
        return make_cases(cfg, layout)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
