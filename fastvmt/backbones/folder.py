"""A model's folder in diffusers' layout: what must be in it, what must not, and who it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastvmt.files import read_json
from fastvmt.shipped import shipped_model

LARGEST = 1 << 20
"""No size in a model's configuration is larger."""
LAYERS = 1000
"""No model has more."""
PARTS = ("model_index.json", "transformer", "vae", "text_encoder", "tokenizer", "scheduler")
CODE = (".py", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Files that would run code, or run it when they are unpickled."""


def model_folder(path: str, kind: str, published: Sequence[str]) -> Path:
    """The folder of a model: a path, or the name of a model that ships with the package.

    ``kind`` is the architecture's name, ``published`` where such folders can be had. Raises ``FileNotFoundError``
    naming what is missing, and ``ValueError`` naming a file that would run code.
    """
    shipped = shipped_model(path)
    folder = Path(path).expanduser()
    if shipped.is_dir() and not (folder / PARTS[0]).exists():  # a folder of results may have its name
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
            and "auto_map" in read_object(file)
        ):
            raise ValueError(f"{file} asks for code of its own by auto_map: remove the entry, or take another model")


def read_object(file: Path) -> dict[str, Any]:
    """An object from a JSON file. Raises ``ValueError`` naming a file that holds none."""
    try:
        content = read_json(file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no JSON object")
    return content


class Fields:
    """The fields of a model's JSON file; a value that the program does not support is an error that names both."""

    def __init__(self, folder: Path, file: str) -> None:
        self.file = folder / file
        self.values = read_object(self.file)

    def __getitem__(self, field: str) -> Any:
        if field not in self.values:
            raise ValueError(f"{self.file} has no field {field}, which the model's shapes need")
        return self.values[field]

    def get(self, field: str, default: Any) -> Any:
        """The field, or the value that it has where the file leaves it out."""
        return self.values.get(field, default)

    def count(self, field: str, default: int | None = None, most: int = LARGEST) -> int:
        """A whole number in [1, ``most``]. Raises ``ValueError`` for anything else; left out it is ``default``."""
        value = self[field] if default is None else self.get(field, default)
        if not is_count(value, most):
            raise ValueError(self.refusal(field, value, f"a whole number in [1, {most}]"))
        return int(value)

    def counts(self, field: str, default: Sequence[int] | None = None, length: int | None = None) -> list[int]:
        """A list of whole numbers in [1, ``LARGEST``], of a length if one is given; see :meth:`count`."""
        value = self[field] if default is None else self.get(field, list(default))
        fits = isinstance(value, list) and len(value) > 0 and length in (None, len(value))
        if not fits or not all(map(is_count, value)):
            many = "" if length is None else f"{length} "
            raise ValueError(self.refusal(field, value, f"a list of {many}whole numbers in [1, {LARGEST}]"))
        return list(value)

    def check_numbers(self, field: str, length: int, *, positive: bool = False) -> None:
        """Raise ``ValueError`` for a field that is there and is no list of finite numbers of this length."""
        value = self.get(field, [1.0] * length)
        fits = isinstance(value, list) and len(value) == length and all(map(is_number, value))
        if not fits or (positive and min(value) <= 0):
            legal = "finite numbers above 0" if positive else "finite numbers"
            raise ValueError(self.refusal(field, value, f"a list of {length} {legal}"))

    def refusal(self, field: str, value: object, legal: str) -> str:
        """The line for a value that is out of range."""
        shown = json.dumps(value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return f"{field}={shown} in {self.file} must be {legal}: download the model again, or mend the file"

    def require(self, field: str, *supported: Any, reason: str) -> None:
        """Raise ``ValueError`` unless the field has a supported value or, where None is one, is left out."""
        value = self.values.get(field)
        if value not in supported:
            words = " or ".join(json.dumps(each) for each in supported)
            raise ValueError(f"{field}={json.dumps(value)} in {self.file} is not supported, only {words}: {reason}")


def is_count(value: object, most: int = LARGEST) -> bool:
    """Whether a value is a whole number that may be a size."""
    return type(value) is int and 1 <= value <= most


def is_number(value: object) -> bool:
    """Whether a value is a number that float32 holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e38


def read_vocabulary(folder: Path) -> dict[str, list[str]] | None:
    """The words that a small model knows, by kind; None where its folder has no ``vocabulary.json``.

    Raises ``ValueError`` for a file that holds anything else than lists of words.
    """
    file = folder / "vocabulary.json"
    if not file.exists():
        return None
    known = read_object(file)
    if not all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in known.values()):
        raise ValueError(f"{file} must hold lists of words by kind")
    return known


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
