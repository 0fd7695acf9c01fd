"""Weight files that cannot be used end in one error at set-up: which file, what is wrong, which override."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import fastvmt.torchvision_ops  # noqa: F401  before torchvision is imported
from fastvmt.score.aesthetic import HEAD, read_head
from fastvmt.score.clip.encoder import ClipEncoder
from fastvmt.score.clip.files import CLIP_L14
from fastvmt.score.dense_flow import RaftFlow
from fastvmt.score.subject import load_dino
from fastvmt.trackers.raft import RaftTracker
from fastvmt.weight_file import WeightFile

READERS: dict[str, Callable[[Path], Any]] = {
    "metrics.clip.model": ClipEncoder,
    "metrics.weights.clip_l14": partial(ClipEncoder, architecture="ViT-L-14-quickgelu", source=CLIP_L14),
    "metrics.weights.aesthetic": lambda path: read_head(HEAD.locate(path)),
    "metrics.weights.raft": RaftFlow,
    "metrics.weights.dino": load_dino,
    "tracker.weights": lambda path: RaftTracker(str(path), "small", device="cpu"),
}
"""By the override that takes their path."""
NO_FILE = ("metrics.weights.aesthetic", "metrics.weights.raft", "tracker.weights")
"""Those that take no folder."""


@pytest.fixture
def unusable(tmp_path: Path) -> dict[Path, str]:
    """Files and what is wrong with each."""
    tensors = {"weight": torch.zeros(64, 64), "bias": torch.zeros(1)}
    save_file(tensors, tmp_path / "whole.safetensors")
    torch.save(tensors, tmp_path / "whole.pth")
    for suffix in (".safetensors", ".pth"):
        whole = (tmp_path / f"whole{suffix}").read_bytes()
        (tmp_path / f"cut{suffix}").write_bytes(whole[: len(whole) // 2])
        (tmp_path / f"page{suffix}").write_bytes(b"<html>404: not found</html>")
        (tmp_path / f"empty{suffix}").touch()
        (tmp_path / f"model-01064c6d{suffix}").write_bytes(whole[:-1])
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save(tensors | {"bias": 1.0}, tmp_path / "number.pth")
    torch.save(tensors | {"bias": Path("x")}, tmp_path / "object.pth")
    reasons = {
        "cut.safetensors": "is damaged",
        "cut.pth": "is damaged",
        "page.safetensors": "is damaged",
        "page.pth": "is damaged",
        "empty.safetensors": "is empty",
        "empty.pth": "is empty",
        "list.pth": "is not a state dict",
        "number.pth": "is not a state dict",
        "object.pth": "is damaged or not",
        "model-01064c6d.pth": "is damaged or another file: its SHA-256",
        "model-01064c6d.safetensors": "is damaged",
    }
    return {tmp_path / name: reason for name, reason in reasons.items()}


@pytest.mark.parametrize("key", READERS)
def test_every_reader_names_file_fault_and_override(key: str, unusable: dict[Path, str], monkeypatch) -> None:
    monkeypatch.setattr("timm.create_model", lambda *_, **__: torch.nn.Linear(64, 64))  # quick
    for path, reason in unusable.items():
        with pytest.raises(
            ValueError, match=rf"{re.escape(str(path))}' {reason}.*: set {re.escape(key)}=<path>$"
        ) as said:
            READERS[key](path)
        assert "\n" not in str(said.value)


@pytest.mark.parametrize("key", NO_FILE)
def test_a_folder_is_not_a_file(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"is a folder, not a file.*: set {re.escape(key)}=<path>$"):
        READERS[key](tmp_path)


def test_half_of_openais_archive_is_damaged_rather_than_of_another_architecture(tmp_path: Path) -> None:
    for name, digits in (("ViT-B-32.pt", "40d36571"), ("ViT-L-14.pt", "b8cca3fd")):
        (tmp_path / name).write_bytes(b"PK\x03\x04 half an archive")
        with pytest.raises(ValueError, match=rf"SHA-256 starts with [0-9a-f]{{8}}, {name} has {digits}"):
            ClipEncoder(tmp_path / name)


def test_a_lack_of_memory_is_not_the_files_fault() -> None:
    file = WeightFile(Path("a.pth"), "key", "a.pth")
    with pytest.raises(torch.cuda.OutOfMemoryError, match="^2 GiB$"), file.blamed("is damaged"):
        raise torch.cuda.OutOfMemoryError("2 GiB")


@pytest.mark.parametrize("nested", [None, "model", "state_dict"])
def test_tensors_are_found_where_checkpoints_keep_them(nested: str | None, tmp_path: Path) -> None:
    tensors = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    torch.save(tensors if nested is None else {nested: tensors, "epoch": 3}, tmp_path / "a.pth")
    file, model = WeightFile(tmp_path / "a.pth", "key", "a.pth"), torch.nn.Linear(3, 2)
    file.fill(model, "a line")
    assert torch.equal(model.weight, tensors["weight"]) and not model.weight.requires_grad and not model.training
    with pytest.raises(
        ValueError, match=r"does not fit a line \(RuntimeError: .*\)\. Needed is a\.pth: set key=<path>"
    ):
        file.fill(torch.nn.Linear(3, 4), "a line")
