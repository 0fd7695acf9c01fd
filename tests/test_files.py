"""Files are whole or not there, whatever is in the way."""

from __future__ import annotations

import json
import math
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastvmt.files import (
    DamagedFileError,
    read_json,
    read_tensors,
    replacing,
    tensors_sha256,
    write_json,
    write_tensors,
)


def test_tensors_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}
    file = tmp_path / "new" / "x.safetensors"
    assert read_tensors(file, "k") is None
    write_tensors(file, tensors, "k")
    found = read_tensors(file, "k")
    assert found is not None and all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bits_anywhere_are_noticed(tmp_path: Path, seed: int) -> None:
    file, dice = tmp_path / "x.safetensors", random.Random(seed)
    write_tensors(file, {"a": torch.linspace(0, 1, 7), "b": torch.tensor([True])}, "k")
    content = bytearray(file.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"x\.safetensors (is damaged|holds what is stored under)"):
        read_tensors(file, "k")


@pytest.mark.parametrize(
    ("tensors", "key", "message"),
    [
        ({"a": torch.zeros(2, 3)}, "other", "is stored under the key other, not k"),
        ({"a": torch.tensor([1.0, math.nan])}, "k", "a has values that are not finite"),
        ({"a": torch.tensor([1.0, math.inf])}, "k", "a has values that are not finite"),
    ],
)
def test_what_was_not_meant_is_not_read(tmp_path: Path, tensors: dict, key: str, message: str) -> None:
    file = tmp_path / "x.safetensors"
    write_tensors(file, tensors, key)
    with pytest.raises(DamagedFileError, match=message):
        read_tensors(file, "k")


def test_names_shapes_and_types_belong_to_the_checksum() -> None:
    values = torch.arange(6.0)
    variants = [
        tensors_sha256("k", {"a": values}),
        tensors_sha256("l", {"a": values}),
        tensors_sha256("k", {"b": values}),
        tensors_sha256("k", {"a": values.reshape(2, 3)}),
        tensors_sha256("k", {"a": values.view(torch.int32)}),
        tensors_sha256("k", {"a": values[:3], "b": values[3:]}),
    ]
    assert len(set(variants)) == len(variants)
    assert tensors_sha256("k", {"a": values, "b": values}) == tensors_sha256("k", {"b": values, "a": values})


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})

    def stopped(error: BaseException) -> None:
        with replacing(file) as partial:
            partial.write_text("half")
            raise error

    for error in (OSError("no space"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            stopped(error)
    assert read_json(file) == {"a": 1} and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("kind", ["folder", "link", "dangling link", "pipe"])
def test_only_a_plain_file_is_replaced(tmp_path: Path, kind: str) -> None:
    file, other = tmp_path / "a.json", tmp_path / "other"
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(other)
        if kind == "link":
            other.write_text("kept")
    before = sorted(tmp_path.iterdir())
    for write in (lambda: write_json(file, {}), lambda: write_tensors(file, {"a": torch.zeros(1)}, "k")):
        with pytest.raises(FileExistsError, match=r"a\.json is in the way: it is no plain file"):
            write()
    assert sorted(tmp_path.iterdir()) == before and (kind != "link" or other.read_text() == "kept")


def test_leftovers_of_stopped_processes_go_and_others_stay(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    host, dead = socket.gethostname(), int(gone.stdout)
    left = tmp_path / f"a.json.{host}.{dead}.partial"
    stay = [
        tmp_path / f"a.json.{host}.{os.getppid()}.partial",
        tmp_path / f"a.json.elsewhere.{dead}.partial",
        tmp_path / f"b.json.{host}.{dead}.partial",
    ]
    for file in (left, *stay):
        file.write_text("half")
    write_json(tmp_path / "a.json", {})
    assert not left.exists() and all(file.exists() for file in stay)


def test_json_is_strict_and_its_errors_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": math.nan, "b": [math.inf, (1.5, None)], "c": {"d": -math.inf}})
    assert json.loads(file.read_text(), parse_constant=pytest.fail) == {
        "a": None,
        "b": [None, [1.5, None]],
        "c": {"d": None},
    }
    file.write_text('{"a": ')
    with pytest.raises(ValueError, match=r"a\.json is damaged: Expecting value"):
        read_json(file)
