"""Entries of the cache: what is not as it was stored is computed anew and told once; no folder stops a run."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fastvmt.cache import TensorCache, content_key

FRESH = {"a": torch.arange(3.0)}


def swapped(file: Path) -> None:
    """Another key's entry in the place of this one."""
    TensorCache(file.parent).keep("other", {"a": torch.ones(3)})
    shutil.move(file.parent / "other.safetensors", file)


def nan(file: Path) -> None:
    save_file({"a": torch.full((3,), torch.nan)}, file)


def reshaped(file: Path) -> None:
    save_file({"a": load_file(file)["a"][:1]}, file)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "text": lambda file: file.write_text("hello"),
    "flipped": lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\x41"),
    "swapped": swapped,
    "nan": nan,
    "reshaped": reshaped,
}
IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "link": lambda file: file.symlink_to(file.parent.parent / "elsewhere"),
    "loop": lambda file: file.symlink_to(file),
}


def fresh() -> dict[str, Tensor]:
    return dict(FRESH)


def same(tensors: dict[str, Tensor]) -> bool:
    return tensors.keys() == FRESH.keys() and torch.equal(tensors["a"], FRESH["a"])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_computed_anew_with_one_line(tmp_path: Path, damage: str, caplog) -> None:
    file = tmp_path / "k.safetensors"
    TensorCache(tmp_path).get("k", fresh)
    healthy = file.read_bytes()
    DAMAGES[damage](file)
    cache = TensorCache(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert same(cache.get("k", fresh)) and (cache.hits, cache.misses) == (0, 1)
    (line,) = caplog.messages
    assert str(file) in line and line.endswith(": computed anew") and "\n" not in line
    assert file.read_bytes() == healthy


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_what_is_no_plain_file_is_neither_read_nor_replaced(tmp_path: Path, kind: str, caplog) -> None:
    folder, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    TensorCache(tmp_path).keep("elsewhere", {"a": torch.ones(3)})
    shutil.move(tmp_path / "elsewhere.safetensors", elsewhere)
    before = elsewhere.read_bytes()
    folder.mkdir()
    IN_THE_WAY[kind](folder / "k.safetensors")
    assert same(TensorCache(folder).get("k", fresh))
    (line,) = caplog.messages
    assert "k.safetensors is in the way: it is no plain file" in line
    assert elsewhere.read_bytes() == before and len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_folder_that_takes_nothing_costs_one_warning(tmp_path: Path, number: int, caplog, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    cache = TensorCache(tmp_path)
    TensorCache(tmp_path).keep("stored", FRESH)
    monkeypatch.setattr(Path, "write_bytes", full)
    with cache.alone("k"):
        assert same(cache.get("k", fresh)) and same(cache.below("tracks").get("k", fresh))
    assert same(cache.get("stored", pytest.fail))  # what is there is read
    (line,) = caplog.messages
    assert str(tmp_path) in line and os.strerror(number) in line
    assert sorted(f.name for f in tmp_path.iterdir()) == ["k.lock", "stored.safetensors", "tracks"]


def test_a_file_in_the_place_of_the_folder_costs_one_warning(tmp_path: Path, caplog) -> None:
    (tmp_path / "cache").write_text("")
    cache = TensorCache(tmp_path / "cache")
    with cache.alone("k"):
        assert same(cache.get("k", fresh))
    cache.forget("k")
    assert len({line.partition(" cannot")[0] for line in caplog.messages}) == 1


def test_values_that_are_not_finite_are_never_stored(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    cache.get("k", lambda: {"a": torch.tensor([torch.inf])})
    assert list(tmp_path.iterdir()) == []


def test_keys_tell_shapes_and_types_apart() -> None:
    values = torch.zeros(6)
    assert len({content_key(x=v) for v in (values, values.reshape(2, 3), values.int(), values.tolist())}) == 4
