"""Files are whole or not there, whatever is in the way."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastvmt.files import read_json, read_tensors, replacing, write_json, write_tensors


def test_tensors_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}
    file = tmp_path / "new" / "x.safetensors"
    assert read_tensors(file) is None
    write_tensors(file, tensors)
    found = read_tensors(file)
    assert found is not None and all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert list(file.parent.iterdir()) == [file]


def test_a_damaged_tensor_file_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    write_tensors(file, {"a": torch.zeros(100)})
    file.write_bytes(file.read_bytes()[:50])
    assert read_tensors(file) is None and not file.exists()


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
    for write in (lambda: write_json(file, {}), lambda: write_tensors(file, {"a": torch.zeros(1)})):
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
