"""Files that are there whole or not at all: tensors and JSON."""

from __future__ import annotations

import json
import math
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write beside ``path``; it takes the place of ``path`` when the context ends without an error.

    The content is on the disk before the name is. What stopped processes of this machine left behind is removed.
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
    finally:
        partial.unlink(missing_ok=True)


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


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors to a safetensors file."""
    with replacing(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)


def read_tensors(path: Path) -> dict[str, Tensor] | None:
    """Read what :func:`write_tensors` wrote; None where there is no readable file. A damaged one is removed."""
    if not path.is_file():
        return None
    try:
        return load_file(path)
    except (SafetensorError, OSError):
        path.unlink(missing_ok=True)  # cut short by a full disk
        return None


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
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
