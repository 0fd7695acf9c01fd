"""Where results come from: versions, hardware, commit, hashes of pixels."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from fastvmt.cost.nvml import Nvml
from fastvmt.types import Video

PACKAGES = (
    "fastvmt",
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "lightning",
    "torchmetrics",
    "open_clip_torch",
    "numpy",
    "decord",
    "av",  # videos are decoded by the former where it is installed
)


@cache
def installed(package: str) -> str:
    """Tell the version of a package, if it is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """Tell the processor's name, or its architecture where no name is told."""
    names = re.findall(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def commit(package: Path = Path(__file__).parents[1]) -> str | None:
    """Tell the commit of the checkout that this package belongs to; None outside of one, or without git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, check=True).stdout

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # fails for a wheel inside another project's folder
        return git("rev-parse", "HEAD").strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def changed(package: Path = Path(__file__).parents[1]) -> bool:
    """Tell whether files of the package, or of the folder of configurations beside it, differ from the commit."""
    words = ["git", "-C", str(package.parent), "status", "--porcelain", "--", package.name, "conf"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return bool(done.stdout.strip())


@cache
def maker() -> dict[str, str]:
    """Tell what generates videos here, in a few words."""
    made = commit()
    return {
        "commit": "none" if made is None else f"{made}{'+' if changed() else ''}",
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else processor(),
        "fastvmt": installed("fastvmt"),
        "torch": installed("torch"),
    }


def provenance(nvml: Nvml | None = None) -> dict[str, Any]:
    """Tell versions, hardware (with the GPU's state where NVML tells it) and commit, as :func:`maker` does."""
    made = maker()
    return {
        "versions": {package: installed(package) for package in PACKAGES},
        "python": platform.python_version(),
        "hardware": {
            "device": made["hardware"],
            "threads": torch.get_num_threads(),
            "cpus": os.cpu_count(),
            "cuda": torch.version.cuda,
            "gpu": None if nvml is None else nvml.state(),
        },
        "commit": made["commit"],
    }


def frames_sha256(video: Video) -> str:
    """Hash a video's pixels, uint8 in the order (T, H, W, RGB), with SHA-256."""
    return hashlib.sha256(video.frames_THWC.contiguous().cpu().numpy().tobytes()).hexdigest()
