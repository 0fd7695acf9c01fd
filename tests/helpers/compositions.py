"""Hydra's compositions, whose parts are shared by all tests of a session, in whichever process they run."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.defaults_list import DefaultsList
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig

from fastvmt.config import config_folder
from helpers import SHARED

kept: dict[tuple[object, ...], bytes] = {}


def once(key: tuple[object, ...], make: Callable[[], Any]) -> Any:
    """A copy of what ``make`` gave for a key the first time in a session; an error is raised each time."""
    if key not in kept:
        folder = os.environ.get(SHARED)
        kept[key] = stored(Path(folder), key, make) if folder else pickle.dumps(make())
    return pickle.loads(kept[key])


def stored(folder: Path, key: tuple[object, ...], make: Callable[[], Any]) -> bytes:
    """What another process of the session has made, or this one makes for all."""
    file = folder / hashlib.sha256(repr(key).encode()).hexdigest()
    if file.exists():
        return file.read_bytes()
    made = pickle.dumps(make())
    with suppress(OSError):  # a test may have left this process no room
        opened, part = tempfile.mkstemp(dir=folder)
        with open(opened, "wb") as stream:
            stream.write(made)
        os.rename(part, file)
    return made


def compose_faster() -> None:
    """Let Hydra make once in a process what compositions share: nine tenths of one that only sets other values."""
    Plugins.instance()  # which registers the sources
    ConfigStore.__deepcopy__ = lambda self, memo: self  # there is one, and what it gives are copies
    parse_once()
    choose_once()
    merge_once()


def parse_once() -> None:
    """A yaml file is parsed again only when it changed."""
    source = SourcesRegistry.instance().resolve("file")
    parse = source.load_config

    def load_config(self: ConfigSource, config_path: str) -> ConfigResult:
        file = Path(self.path, self._normalize_file_name(config_path))
        if not file.exists():
            return parse(self, config_path)
        stat = file.stat()
        return once((self.provider, file, stat.st_mtime_ns, stat.st_size), lambda: parse(self, config_path))

    source.load_config = load_config


def sources_of(repo: IConfigRepository) -> tuple[tuple[str, str], ...] | None:
    """Where Hydra looks; None with a folder of a test's own, whose files may change."""
    found = tuple((source.scheme(), source.path) for source in repo.get_sources())
    own = any(scheme == "file" and Path(path) != config_folder() for scheme, path in found)
    return None if own else found


def choose_once() -> None:
    """The list of files is made once for each choice of options, whatever values are set beside them."""
    choose = config_loader_impl.create_defaults_list

    def create_defaults_list(
        repo: IConfigRepository, config_name: str | None, overrides_list: list[Override], **named: bool
    ) -> DefaultsList:
        if (sources := sources_of(repo)) is None:
            return choose(repo, config_name, overrides_list, **named)
        single = [each for each in overrides_list if not each.is_sweep_override()]
        options = [each for each in single if repo.group_exists(each.key_or_group)]
        key = (sources, config_name, *(each.input_line for each in options), *named.items())
        found: DefaultsList = once(key, lambda: choose(repo, config_name, options, **named))
        found.config_overrides = [each for each in single if each not in options or isinstance(each.value(), dict)]
        return found

    config_loader_impl.create_defaults_list = create_defaults_list


def merge_once() -> None:
    """The files of a list are merged once; values are set in a copy."""
    merge = ConfigLoaderImpl._compose_config_from_defaults_list

    def merged(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        if (sources := sources_of(repo)) is None:
            return merge(self, defaults, repo)
        key = (sources, *((each.config_path, each.package, each.primary) for each in defaults))
        found: DictConfig = once(key, lambda: merge(self, defaults, repo))
        return found

    ConfigLoaderImpl._compose_config_from_defaults_list = merged
