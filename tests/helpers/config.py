"""Configurations for tests."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig

from fastvmt import compose


@cache
def once(overrides: tuple[str, ...]) -> bytes:
    """Composed once in a process: to read a pickle takes 1 ms, to copy 6, to compose 170."""
    return pickle.dumps(compose.composed(["output_dir=unused", *overrides]))


def composed(*overrides: str) -> DictConfig:
    """``conf/`` with overrides, the caller's to change; what runs and writes names its own ``output_dir``.

    A folder of a test's own in ``hydra.searchpath`` may change between two calls only if their words differ.
    """
    found: DictConfig = pickle.loads(once(overrides))
    return found


def parse_once() -> None:
    """Let Hydra parse a yaml file once in a process, and again when it changed: that is a quarter of a composition."""
    Plugins.instance()  # which registers the sources
    source = SourcesRegistry.instance().resolve("file")
    parse = source.load_config
    parsed: dict[tuple[str, Path, int, int], bytes] = {}

    def load_config(self: ConfigSource, config_path: str) -> ConfigResult:
        file = Path(self.path, self._normalize_file_name(config_path))
        if not file.exists():
            return parse(self, config_path)
        stat = file.stat()
        key = self.provider, file, stat.st_mtime_ns, stat.st_size
        if key not in parsed:
            parsed[key] = pickle.dumps(parse(self, config_path))
        found: ConfigResult = pickle.loads(parsed[key])
        return found

    source.load_config = load_config
