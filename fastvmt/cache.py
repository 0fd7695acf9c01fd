"""Reference quantities on disk, keyed by everything they depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


def content_key(**parts: object) -> str:
    """A short hash of named values; tensors enter with their bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(parts.items()):
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        else:
            digest.update(json.dumps(value, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:32]


class TensorCache:
    """Named tensors per key in one folder, the latest also in memory; ``folder=None`` keeps only that."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.hits = 0
        self.misses = 0
        self._latest: tuple[str, dict[str, Tensor]] | None = None

    def get(self, key: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors of ``key``, computed and stored if they are not there (or not readable)."""
        if self._latest is None or self._latest[0] != key:
            stored = self._read(key)
            if stored is None:
                self.misses += 1
                stored = compute()
                self._write(key, stored)
                self._latest = (key, stored)
                return stored
            self._latest = (key, stored)
        self.hits += 1
        return self._latest[1]

    def _read(self, key: str) -> dict[str, Tensor] | None:
        if self.folder is None or not (file := self.folder / f"{key}.safetensors").exists():
            return None
        try:
            return load_file(file)
        except (SafetensorError, OSError):
            file.unlink(missing_ok=True)  # cut short by a full disk or a kill: compute again
            return None

    def _write(self, key: str, tensors: dict[str, Tensor]) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{key}.{os.getpid()}.partial"
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, partial)
        os.replace(partial, self.folder / f"{key}.safetensors")
