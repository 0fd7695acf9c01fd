"""Weights of trackers, from local files only."""

from __future__ import annotations

import hashlib
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor


def read_state_dict(path: str | Path | None, need: str) -> dict[str, Tensor]:
    """Tensors of a .safetensors or .pth file; ``need`` says which file that is, its origin, licence and size.

    Never unpickles objects and never downloads. Raises ``FileNotFoundError`` for a missing file and
    ``ValueError`` for one that holds anything but tensors.
    """
    file = None if path is None else Path(path).expanduser()
    if file is None or not file.is_file():
        where = "tracker.weights is not set" if file is None else f"tracker.weights={file} does not exist"
        raise FileNotFoundError(f"{where}: it must be a local copy of {need}")
    if file.suffix == ".safetensors":
        return load_file(file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"tracker.weights={file} is not a file of plain tensors; needed is {need}") from error
    state = state.get("model", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"tracker.weights={file} is not a state dict; needed is {need}")
    return state


def fill(model: torch.nn.Module, state: dict[str, Tensor], need: str) -> None:
    """Load a state dict; raises ``ValueError`` when it belongs to another architecture."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"tracker.weights does not fit the model; needed is {need}") from error
    model.eval().requires_grad_(False)


def fingerprint(path: str | Path) -> str:
    """First 16 digits of the SHA-256 of a file."""
    with Path(path).expanduser().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def device_of(name: str) -> torch.device:
    """The device that ``auto`` or a device's name stands for."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
