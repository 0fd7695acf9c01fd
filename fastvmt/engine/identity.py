"""Which part of a configuration a result depends on, and in which keys two configurations differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fastvmt.cache import content_key
from fastvmt.engine.cases import CLIP
from fastvmt.files import file_sha256

NOT_RESULT = (
    "output_dir",
    "cache_dir",
    "dry",
    "plan",
    "on_diverged",
    "overwrite",
    "lossless",
    "logger",
    "trainer",
    "objective",
    "device",
    "threads",
    "checkpoint_steps",
    "experiment",
)
"""Keys that do not change what is generated or scored, but for a device's last bits."""
CASES = ("benchmark", "video", "seed", *CLIP)
"""Keys that only choose cases: a case's content has a key of its own."""
WEIGHTS = ("backbone.path", "tracker.weights", "metrics.clip.model", "metrics.weights")
"""Where weights are: what they hold is the records' ``weights`` and ``judges``. The code of a checkout stays."""
CODE = "metrics.weights.amt_checkout"
PLACE = "backbone.offload"
"""Where weights wait, which changes no number."""


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
    return {key: value for key, value in found.items() if decides(key)}


def decides(key: str) -> bool:
    """Whether a dotted key may change a result other than through the weights that it names."""
    parts = key.split(".")
    weights = any(key == name or key.startswith(f"{name}.") for name in WEIGHTS)
    return parts[0] not in NOT_RESULT and parts[-1] != "device" and key != PLACE and (not weights or key == CODE)


def content(key: str, value: Any) -> Any:
    """Give what a key stands for: of a file that the method or a mark reads its SHA-256, wherever it lies."""
    named = key.startswith(("method.", "provenance.")) and isinstance(value, str) and Path(value).expanduser().is_file()
    return {"sha256": file_sha256(Path(value).expanduser())} if named else value


def config_hash(cfg: DictConfig) -> str:
    """Hash everything in the configuration that changes what becomes of a given case."""
    settings = {key: content(key, value) for key, value in leaves(cfg).items() if key.split(".")[0] not in CASES}
    return content_key(config=settings)


def differences(cfg: DictConfig, other: DictConfig) -> list[str]:
    """Name the keys in which ``other`` differs, with both values."""
    here, there = leaves(cfg), leaves(other)
    keys = [key for key in (here | there) if here.get(key) != there.get(key)]
    return [f"{key}={shown(here.get(key))} (there {shown(there.get(key))})" for key in keys]


def shown(value: Any) -> str:
    """Write a value as the command line takes it, long ones cut."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
