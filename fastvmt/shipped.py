"""Models that ship with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped_model(name: str) -> Path:
    """Tell where a model that ships with the package has its folder; no other name leads to one."""
    return Path(str(resources.files("fastvmt"))) / "models" / name
