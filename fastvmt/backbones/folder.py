"""A model's folder in diffusers' layout: what must be in it, what must not, and who it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

PARTS = ("model_index.json", "transformer", "vae", "text_encoder", "tokenizer", "scheduler")
CODE = (".py", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Files that would run code, or run it when they are unpickled."""


def model_folder(path: str, kind: str, published: Sequence[str]) -> Path:
    """The folder of a model: a path, or the name of a model that ships with the package.

    ``kind`` is the architecture's name, ``published`` where such folders can be had. Raises ``FileNotFoundError``
    naming what is missing, and ``ValueError`` naming a file that would run code.
    """
    shipped = Path(str(resources.files("fastvmt"))) / "models" / path
    folder = Path(path).expanduser()
    if not folder.is_dir() and shipped.is_dir():
        folder = shipped
    missing = [part for part in PARTS if not (folder / part).exists()]
    if missing:
        raise FileNotFoundError(
            f"backbone.path={path!r} is not a {kind} model in diffusers' layout: missing {', '.join(missing)} under "
            f"{folder}. It needs {', '.join(PARTS)}, as in the Hugging Face repositories {' and '.join(published)}. "
            "Download one and set backbone.path=<its folder>, or use backbone=tiny_wan, which ships with the package."
        )
    refuse_code(folder)
    return folder


def refuse_code(folder: Path) -> None:
    """Raise ``ValueError`` when a model brings code: Python files, pickles, or ``auto_map`` in a configuration."""
    for file in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if file.suffix in CODE:
            raise ValueError(
                f"{file} could run code of its own: a model is read from JSON and safetensors files alone. Remove it"
            )
        if (
            file.suffix == ".json"
            and file.name.endswith(("config.json", "index.json"))
            and "auto_map" in read_json(file)
        ):
            raise ValueError(f"{file} asks for code of its own by auto_map: remove the entry, or take another model")


def read_json(file: Path) -> dict[str, Any]:
    """An object from a JSON file. Raises ``ValueError`` naming a file that holds none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no JSON object")
    return content


class Fields:
    """The fields of a model's JSON file; a value that the program does not support is an error that names both."""

    def __init__(self, folder: Path, file: str) -> None:
        self.file = folder / file
        self.values = read_json(self.file)

    def __getitem__(self, field: str) -> Any:
        if field not in self.values:
            raise ValueError(f"{self.file} has no field {field}, which the model's shapes need")
        return self.values[field]

    def get(self, field: str, default: Any) -> Any:
        """The field, or the value that it has where the file leaves it out."""
        return self.values.get(field, default)

    def require(self, field: str, *supported: Any, reason: str) -> None:
        """Raise ``ValueError`` unless the field has a supported value or, where None is one, is left out."""
        value = self.values.get(field)
        if value not in supported:
            words = " or ".join(json.dumps(each) for each in supported)
            raise ValueError(f"{field}={json.dumps(value)} in {self.file} is not supported, only {words}: {reason}")


@lru_cache(maxsize=8)
def digest(files: tuple[tuple[Path, int, int, int], ...]) -> str:
    """SHA-256 of names and bytes of files that are given with their size, time of change and inode."""
    total = hashlib.sha256()
    for path, *_ in files:
        total.update(path.name.encode())
        with path.open("rb") as stream:
            while part := stream.read(1 << 24):
                total.update(part)
    return total.hexdigest()


def fingerprint(folder: Path, patterns: Sequence[str]) -> str:
    """Hash of the files of a folder that match, read once in a process as long as they stay as they are."""
    files = sorted(file for pattern in patterns for file in folder.glob(pattern))
    states = [(file, file.stat()) for file in files]
    return digest(tuple((file, state.st_size, state.st_mtime_ns, state.st_ino) for file, state in states))
