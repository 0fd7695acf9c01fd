"""Result files: one JSON per case, one per run, written atomically."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from fastvmt.cache import content_key

PACKAGES = ("fastvmt", "torch", "diffusers", "transformers", "lightning", "torchmetrics", "open_clip_torch", "numpy")
NOT_RESULT = ("output_dir", "cache_dir", "dry", "logger", "trainer", "objective", "device", "experiment")
"""Keys that do not change what is generated or scored."""

Record = dict[str, Any]


def config_hash(cfg: DictConfig) -> str:
    """Hash of everything in the configuration that changes a case's result."""
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    return content_key(config={key: value for key, value in resolved.items() if key not in NOT_RESULT})


def slug(name: str) -> str:
    """A folder name that cannot leave its parent."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "case"


def finite(value: Any) -> Any:
    """NaN and infinities as null, so that the file is strict JSON."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Record) -> None:
    """Write strict JSON through a temporary file."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(finite(content), indent=1, allow_nan=False))
    os.replace(partial, path)


def finished(folder: Path, key: str) -> Record | None:
    """The record of a case that an earlier run with the same configuration completed."""
    file = folder / "case.json"
    if not file.exists():
        return None
    record: Record = json.loads(file.read_text())
    return record if record["config"] == key else None


def mean_scores(records: list[Record]) -> dict[str, dict[str, float | int]]:
    """Mean, standard deviation and count of every score over cases; missing values are left out."""
    names = dict.fromkeys(name for record in records for name in record["scores"])
    table = {}
    for name in names:
        values = [r["scores"][name] for r in records if r["scores"].get(name) is not None]
        values = [v for v in values if math.isfinite(v)]
        if values:
            table[name] = {"mean": float(np.mean(values)), "std": float(np.std(values)), "n": len(values)}
    return table


def mean_seconds(records: list[Record]) -> dict[str, float]:
    """Mean seconds per stage over cases."""
    names = dict.fromkeys(name for record in records for name in record["seconds"])
    return {name: float(np.mean([r["seconds"].get(name, 0.0) for r in records])) for name in names}


def provenance() -> Record:
    """Versions, hardware and commit."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    git = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {
        "versions": versions,
        "python": platform.python_version(),
        "hardware": {"device": device, "threads": torch.get_num_threads(), "cpus": os.cpu_count()},
        "commit": git.stdout.strip() or None,
    }
