"""Files that are there whole or not at all: tensors, which prove what they are, and JSON."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

CHECKSUM = "sha256"
"""Key of a safetensors header: the checksum of the tensors and their key, and that key."""


class DamagedFileError(ValueError):
    """A stored file is not what was written; the message names it and says why."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write beside ``path``; it takes the place of ``path`` when the context ends without an error.

    The content is on the disk before the name is, and the name before this returns. What stopped processes of this
    machine left behind is removed.
    Raises ``FileExistsError`` if ``path`` is anything but a plain file.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise FileExistsError(f"{path} is in the way: it is no plain file")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    partial = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def remove_leftovers(path: Path) -> None:
    """Remove the unfinished files of ``path`` whose process on this machine is gone."""
    mine = re.compile(rf"{re.escape(f'{path.name}.{socket.gethostname()}')}\.(\d+)\.partial")
    for file in path.parent.iterdir():
        if (match := mine.fullmatch(file.name)) and not alive(int(match[1])):
            file.unlink(missing_ok=True)


def alive(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def try_writing(folder: Path) -> None:
    """Raise ``OSError`` for a folder in which no file can be written."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def is_plain(path: Path) -> bool:
    """Whether a file is there that is neither a folder nor a link to elsewhere."""
    return path.is_file() and not path.is_symlink()


def file_sha256(path: Path) -> str:
    """Hash a file's bytes with SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_tensor(digest: Any, tensor: Tensor) -> None:
    """Add type, shape and bytes of a tensor to a hash."""
    here = tensor.detach().cpu().contiguous()
    digest.update(f"{here.dtype} {list(here.shape)}".encode())
    digest.update(here.reshape(-1).view(torch.uint8).numpy().data)


def tensors_sha256(key: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash named tensors with the key that they are stored under."""
    digest = hashlib.sha256(key.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} ".encode())
        hash_tensor(digest, tensor)
    return digest.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], key: str) -> None:
    """Write named tensors to a safetensors file whose header holds their key and a checksum of both."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(stored, {CHECKSUM: f"{tensors_sha256(key, stored)} {key}"})  # one entry: their order is random
    with replacing(path) as partial:
        partial.write_bytes(content)


def read_tensors(path: Path, key: str) -> dict[str, Tensor] | None:
    """Read what :func:`write_tensors` wrote under ``key``; None where there is no plain file.

    Raises :class:`DamagedFileError` for a file that holds anything else, or numbers that are not finite.
    """
    if not is_plain(path):
        return None
    try:
        with safe_open(path, "pt") as stored:
            sealed = (stored.metadata() or {}).get(CHECKSUM)
            names = stored.keys()
            tensors = {name: stored.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"{path} is damaged ({error})") from error
    if sealed is None:
        raise DamagedFileError(f"{path} is damaged or of another program: its header holds no checksum")
    checksum, _, found = sealed.partition(" ")
    if found != key:
        raise DamagedFileError(f"{path} holds what is stored under the key {found}, not {key}")
    if checksum != tensors_sha256(key, tensors):
        raise DamagedFileError(f"{path} is damaged: its checksum is not that of its tensors")
    if name := not_finite(tensors):
        raise DamagedFileError(f"{path} is damaged: {name} has values that are not finite")
    return tensors


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Name the first tensor that has NaN or infinite values."""
    wrong = (name for name, tensor in tensors.items() if not torch.isfinite(tensor).all())
    return next(wrong, None)


def finite(value: Any) -> Any:
    """Give NaN and infinities as null, so that the file is strict JSON."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(finite(content), indent=1, allow_nan=False), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises ``ValueError``, which names the file, for one that is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
