"""Which part of a configuration a result depends on, and in which keys two configurations differ."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fastvmt.cache import content_key
from fastvmt.config import Rerun
from fastvmt.construct import class_of
from fastvmt.engine.cases import CLIP
from fastvmt.files import file_sha256
from fastvmt.results.case_record import Identity

GENERATION = ("method", "sampler", "backbone", "provenance")
"""Groups that a video and its files depend on. Numbers of FastVMT's reach it through the nodes of the methods that read
them: what a method does not read changes nothing."""
READ_BY_METHODS = ("window", "skip", "guidance")
LAST_BITS = (
    "backbone.device",
    "backbone.memory",
    "backbone.attention",
    "backbone.compile",
    "backbone.offload",
    "sampler.batched_cfg",
)
"""Keys of theirs that move last bits only."""
WEIGHTS = "backbone.path"
"""Where weights are: what they hold is the records' ``weights``."""
CASES = ("benchmark", "video", "seed", "seeds", *CLIP)
"""Keys that only choose cases: a case's content has a key of its own."""

OPTION = "backbone.cache"
"""An option of the backbone with numbers of its own (``backbone.cache_*``), none of which is read without it."""

SIDE = "method.window.l"
"""The side of FastVMT's windows; 0 is none."""
OF_WINDOWS = (
    "method.window.tile",
    "method.window.query",
    "method.window.centre_gradient",
    "method.guidance.window_weight",
)
"""Numbers of its that nothing reads where there are no windows."""


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Give the leaves of nested mappings by their dotted keys."""
    if not isinstance(node, Mapping):
        return {prefix: node}
    found: dict[str, Any] = {}
    for name, child in node.items():
        found |= flat(child, f"{prefix}.{name}".lstrip("."))
    return found


def leaves(cfg: DictConfig) -> dict[str, Any]:
    """Give the resolved keys that decide what becomes of cases, and those that choose them."""
    found = flat(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))
    unread = [key for key in found if key.startswith(OPTION)] if found.get(OPTION) in (None, "none") else []
    own = str(found.get("method._target_")).startswith("fastvmt.")  # a user's class may read what it likes
    unread += OF_WINDOWS if own and found.get(SIDE) == 0 else ()
    return {key: value for key, value in found.items() if decides(key) and key not in unread}


def decides(key: str) -> bool:
    """Whether a dotted key may change a video other than through the weights that it names."""
    root = key.split(".")[0]
    return root in CASES or (root in GENERATION and key not in (*LAST_BITS, WEIGHTS))


def content(key: str, value: Any) -> Any:
    """Give what a key stands for.

    That is for a file that the method or a mark reads its SHA-256, wherever it lies, and for a class from outside of
    fastvmt also that of its source.
    """
    if key.endswith("._target_") and not str(value).startswith("fastvmt."):
        found = importlib.util.find_spec(str(value).rpartition(".")[0])
        source = Path(found.origin) if found is not None and found.origin else None
        return [value, file_sha256(source) if source is not None and source.is_file() else None]
    if not key.startswith(("method.", "provenance.")) or not isinstance(value, str):
        return value
    path = Path(value).expanduser()
    named = (path.suffix or path.name != value) and path.is_file()
    return {"sha256": file_sha256(path)} if named else value


def config_hash(cfg: DictConfig) -> str:
    """Hash everything in the configuration that changes the video of a given case."""
    settings = {key: content(key, value) for key, value in leaves(cfg).items() if key.split(".")[0] not in CASES}
    kind: Any = class_of(cfg.backbone, "backbone")
    return content_key(config=settings, words=kind.words_of(str(cfg.backbone.get("path"))))


def weights_hash(cfg: DictConfig) -> str:
    """Hash the weights of a configuration's backbone, which need not be loaded for it."""
    kind: Any = class_of(cfg.backbone, "backbone")
    fingerprint: str = kind.fingerprint_of(cfg.backbone.path)
    return fingerprint


def videos_key(cfg: DictConfig) -> str | None:
    """Write what decides all videos of a row, without a look at files: of rows that share it the first makes them.

    None where every row makes its own: without a cache, and with ``rerun=all``.
    """
    if cfg.cache_dir is None or cfg.rerun == Rerun.all:
        return None
    return repr(sorted({**leaves(cfg), WEIGHTS: cfg.backbone.get("path")}.items(), key=str))


def cell_key(identity: Identity) -> str:
    """Hash what a video and its files depend on."""
    made = {"config": identity.config, "algorithm": identity.algorithm, "weights": identity.weights}
    return content_key(**made, case=identity.case)


def differences(cfg: DictConfig, other: DictConfig) -> list[str]:
    """Name the keys in which ``other`` differs, with both values."""
    here, there = leaves(cfg), leaves(other)
    keys = [key for key in (here | there) if here.get(key) != there.get(key)]
    return [f"{typed(key)}={shown(here.get(key))} (there {shown(there.get(key))})" for key in keys]


def typed(key: str) -> str:
    """Write a key as one types it: the methods' nodes have numbers of FastVMT's groups."""
    words = key.split(".")
    return ".".join(words[1:]) if words[:1] == ["method"] and words[1] in READ_BY_METHODS else key


def shown(value: Any) -> str:
    """Write a value as the command line takes it, long ones cut."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
