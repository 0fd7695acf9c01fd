"""Result files: one JSON per case, one per run, written atomically."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from fastvmt.cache import content_key
from fastvmt.cost.account import loop_seconds, peak
from fastvmt.cost.nvml import Nvml
from fastvmt.results.statistics import Summary, summarise
from fastvmt.types import TransferCase, Video

PACKAGES = (
    "fastvmt",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "peft",
    "lightning",
    "torchmetrics",
    "open_clip_torch",
    "timm",
    "numpy",
    "opencv-python-headless",
    "decord",
    "av",  # videos are decoded by the former where it is installed
)
NOT_RESULT = ("output_dir", "cache_dir", "dry", "logger", "trainer", "objective", "device", "experiment")
"""Keys that do not change what is generated or scored."""
POOLED = ("subject_consistency", "background_consistency")
"""With ``metrics.vbench_compat`` the means of these are over the frames of all videos, as in VBench's tables."""

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


def case_key(case: TransferCase) -> str:
    """Hash of what a case asks for: a manifest or a clip may change between runs under the same path."""
    return content_key(
        prompt=case.prompt,
        negative=case.negative_prompt,
        caption=case.reference_prompt,
        seed=case.seed,
        frames=case.reference.frames_THWC,
        size=case.reference.size,
        fps=case.reference.fps,
        foreground=case.foreground_THW,
    )


def frames_sha256(video: Video) -> str:
    """SHA-256 of a video's pixels, uint8 in the order (T, H, W, RGB)."""
    return hashlib.sha256(video.frames_THWC.contiguous().cpu().numpy().tobytes()).hexdigest()


def finished(
    folder: Path, key: str, weights: str, case: TransferCase, score_versions: Mapping[str, int]
) -> Record | None:
    """The record of a case that an earlier run with equal configuration, weights and score definitions completed."""
    file = folder / "case.json"
    if not file.exists():
        return None
    record: Record = json.loads(file.read_text())
    wanted = {"config": key, "weights": weights, "case": case_key(case), "score_versions": score_versions}
    return record if all(record.get(name) == value for name, value in wanted.items()) else None


def score_column(records: list[Record], score: str) -> dict[str, float]:
    """One score by case id; NaN where it is missing."""
    values = {r["id"]: r["scores"].get(score) for r in records}
    return {case_id: math.nan if value is None else float(value) for case_id, value in values.items()}


def score_summaries(records: list[Record]) -> dict[str, Summary]:
    """Every score over cases, seeds averaged within, or ``POOLED``; scores that no case has are there with n = 0."""
    names = dict.fromkeys(name for record in records for name in record["scores"])
    found = {name: summarise(score_column(records, name)) for name in names}
    if any(record.get("vbench_compat") for record in records):
        found |= {name: replace(found[name], mean=pooled_mean(records, name)) for name in POOLED if name in found}
    return found


def pooled_mean(records: list[Record], score: str) -> float:
    """Mean of a score in which a video weighs as many frames as it has after the first; NaN without any."""
    column = {i: value for i, value in score_column(records, score).items() if math.isfinite(value)}
    weight = {r["id"]: r["frames"] - 1 for r in records if r["id"] in column}
    return sum(column[i] * weight[i] for i in column) / sum(weight.values()) if column else math.nan


def mean_scores(records: list[Record]) -> dict[str, dict[str, float | int]]:
    """:func:`score_summaries` of the scores that some case has, as plain values."""
    return {name: asdict(row) for name, row in score_summaries(records).items() if row.n}


def seconds_column(records: list[Record], stage: str) -> dict[str, float]:
    """Seconds of a stage by case id, also of ``loop`` (reference + guide + denoise); 0 where it did not run."""
    if stage == "loop":
        return {r["id"]: loop_seconds(r["seconds"]) for r in records}
    return {r["id"]: r["seconds"].get(stage, 0.0) for r in records}


def mean_seconds(records: list[Record]) -> dict[str, float]:
    """Mean seconds per stage over cases, and of ``loop``."""
    names = dict.fromkeys(name for record in records for name in record["seconds"])
    return {name: summarise(seconds_column(records, name)).mean for name in (*names, "loop")}


def peak_column(records: list[Record], kind: str) -> dict[str, float]:
    """Peak GiB of one kind of memory by case id; NaN where it was not measured."""
    peaks = {r["id"]: peak(r["cost"]["memory_gib"], kind) for r in records}
    return {case_id: math.nan if value is None else value for case_id, value in peaks.items()}


def energy_column(records: list[Record], meter: str) -> dict[str, float]:
    """Joules of the whole generation by case id, of the GPU (``energy``) or the CPU; NaN where not measured."""
    totals = {r["id"]: r["cost"][meter]["total"] for r in records}
    return {case_id: math.nan if value is None else value for case_id, value in totals.items()}


def cost_summaries(records: list[Record]) -> dict[str, Summary]:
    """Seconds of loop and total, peak memory by kind and joules by meter, over cases; n = 0 is n/a."""
    columns = {f"{stage}_seconds": seconds_column(records, stage) for stage in ("loop", "total")}
    columns |= {f"{kind}_gib": peak_column(records, kind) for kind in ("allocated", "reserved", "device", "resident")}
    columns |= {f"{meter}_joules": energy_column(records, meter) for meter in ("energy", "cpu_energy")}
    return {name: summarise(column) for name, column in columns.items()}


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, or its architecture where no name is told."""
    names = re.findall(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def commit(package: Path = Path(__file__).parents[1]) -> str | None:
    """The commit of the checkout that this package belongs to; None outside of one, or without git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, check=True).stdout

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # fails for a wheel inside another project's folder
        return git("rev-parse", "HEAD").strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def installed(package: str) -> str:
    """The version of a package, if it is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def provenance(nvml: Nvml | None = None) -> Record:
    """Versions, hardware (with the GPU's state where NVML tells it) and commit."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    return {
        "versions": {package: installed(package) for package in PACKAGES},
        "python": platform.python_version(),
        "hardware": {
            "device": device,
            "threads": torch.get_num_threads(),
            "cpus": os.cpu_count(),
            "cuda": torch.version.cuda,
            "gpu": None if nvml is None else nvml.state(),
        },
        "commit": commit(),
    }
