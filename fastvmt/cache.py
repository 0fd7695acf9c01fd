"""Reference quantities on disk, keyed by everything they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from fastvmt.files import read_tensors, write_tensors


def content_key(**parts: object) -> str:
    """Hash named values to 32 hexadecimal digits; tensors enter with their bytes."""
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
        """Give the tensors of ``key``, computed and stored if they are not there (or not readable)."""
        if self._latest is None or self._latest[0] != key:
            file = None if self.folder is None else self.folder / f"{key}.safetensors"
            stored = None if file is None else read_tensors(file)
            if stored is None:
                self.misses += 1
                stored = compute()
                if file is not None:
                    write_tensors(file, stored)
                self._latest = (key, stored)
                return stored
            self._latest = (key, stored)
        self.hits += 1
        return self._latest[1]
