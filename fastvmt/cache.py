"""Reference quantities on disk, keyed by everything they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from torch import Tensor

from fastvmt.files import DamagedFileError, hash_tensor, not_finite, read_tensors, write_tensors

log = logging.getLogger(__name__)


def content_key(**parts: object) -> str:
    """Hash named values to 32 hexadecimal digits; tensors enter with their type, shape and bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(parts.items()):
        digest.update(name.encode())
        if isinstance(value, Tensor):
            hash_tensor(digest, value)
        else:
            digest.update(json.dumps(value, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:32]


class TensorCache:
    """Named tensors per key in one folder, the latest also in memory; ``folder=None`` keeps only that.

    An entry that is not what was stored under its key is computed anew, with a line in the log. A folder that cannot
    be written to costs one warning.
    """

    def __init__(self, folder: Path | None, told: set[str] | None = None) -> None:
        """``told`` are the warnings that were given, shared with other folders of the same run."""
        self.folder = folder
        self.told = set() if told is None else told
        self.hits = 0
        self.misses = 0
        self._latest: tuple[str, dict[str, Tensor]] | None = None

    def below(self, name: str) -> TensorCache:
        """Give a cache of its own in a folder below this one's."""
        return TensorCache(None if self.folder is None else self.folder / name, self.told)

    def get(self, key: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Give the tensors of ``key``, computed and stored if they are not there as they were stored."""
        if self._latest is None or self._latest[0] != key:
            stored = self.read(key)
            if stored is None:
                self.misses += 1
                stored = compute()
                self.keep(key, stored)
                self._latest = (key, stored)
                return stored
            self._latest = (key, stored)
        self.hits += 1
        return self._latest[1]

    def read(self, key: str) -> dict[str, Tensor] | None:
        """Read an entry; None where there is none, or a damaged one, which is told."""
        if self.folder is None:
            return None
        try:
            return read_tensors(self.folder / f"{key}.safetensors", key)
        except DamagedFileError as error:
            log.warning("%s: computed anew", error)
            return None

    def keep(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Store an entry, where that is possible; tensors that are not finite are never stored."""
        if self.folder is None or not_finite(tensors):
            return
        try:
            write_tensors(self.folder / f"{key}.safetensors", tensors, key)
        except OSError as error:
            self._cannot_write(error)

    def forget(self, key: str) -> None:
        """Remove an entry, if it is there."""
        if self.folder is not None:
            try:
                (self.folder / f"{key}.safetensors").unlink(missing_ok=True)
            except OSError as error:
                self._cannot_write(error)

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Within the context no other process that asks for the same is in it, where the folder can hold a lock."""
        if self.folder is None:
            yield
            return
        lock = FileLock(self.folder / f"{key}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            self._cannot_write(error)
        try:
            yield
        finally:
            lock.release()

    def _cannot_write(self, error: OSError) -> None:
        """Warn, once for every reason."""
        why = error.strerror or str(error)
        if why not in self.told:
            self.told.add(why)
            log.warning("cache_dir: %s cannot be written to (%s): what is computed is not kept", self.folder, why)
