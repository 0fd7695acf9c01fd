"""Jobs of a sweep are composed once: Hydra composes each to check it and again to run it, we to compare it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

MOST = 64
"""Jobs whose compositions are kept and compared, at a quarter of a second each."""


class Compositions:
    """Composes jobs for a loader in place of its own method, and keeps what it composed."""

    def __init__(self, loader: ConfigLoader) -> None:
        self.loader = loader
        self.known: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Give a copy, which its job may change. Raises as Hydra's composition."""
        return deepcopy(self.kept(master_config, sweep_overrides))

    def kept(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Give the composition itself, to be read only. Raises as Hydra's composition."""
        words = tuple(sweep_overrides)
        if words in self.known:
            return self.known[words]
        made = type(self.loader).load_sweep_config(self.loader, master_config, sweep_overrides)
        if len(self.known) < MOST:
            self.known[words] = made
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Launchers send the loader to other processes, which compose what they run."""
        return {"loader": self.loader, "known": {}}


def compose_once(loader: ConfigLoader) -> Compositions:
    """Let a sweep's loader keep what it composes."""
    compositions = Compositions(loader)
    loader.load_sweep_config = compositions  # type: ignore[method-assign]
    return compositions
