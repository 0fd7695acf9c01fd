"""A weight file that the user brings: checked before it is read, and read without unpickling code."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from fastvmt.files import file_sha256

OPENAI_SHA256 = {"ViT-B-32.pt": "40d36571", "ViT-L-14.pt": "b8cca3fd"}
"""First digits of the SHA-256 of OpenAI's archives, as in the addresses that they were published under."""
PICKLE = b"\x80"
"""First byte of the form that torch wrote before it wrote archives."""
NESTED = ("model", "state_dict")
"""Where checkpoints keep their tensors, if not at the top."""


@dataclass(frozen=True)
class WeightFile:
    """An existing path, the override that sets it, and what it must lead to (with origin, licence and size)."""

    path: Path
    key: str
    need: str

    def message(self, problem: str) -> str:
        """The one line for a file that cannot be used."""
        return f"{str(self.path)!r} {problem}. Needed is {self.need}: set {self.key}=<path>"

    @contextmanager
    def blamed(self, problem: str) -> Iterator[None]:
        """Whatever a damaged file makes its reader raise becomes a ``ValueError`` that names the file."""
        try:
            yield
        except (MemoryError, torch.cuda.OutOfMemoryError):
            raise  # not the file's fault
        except Exception as error:
            said = "" if isinstance(error, UnpicklingError) else f": {shorten(str(error), 160, placeholder=' ...')}"
            raise ValueError(self.message(f"{problem} ({type(error).__name__}{said})")) from error

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal; ``ValueError`` for a folder, an empty file, or digits other than the file's name promises.

        OpenAI's two archives are known by name; other names may end in ``-<first 8 digits>.pth``.
        """
        if self.path.is_dir():
            raise ValueError(self.message("is a folder, not a file"))
        if not self.path.stat().st_size:
            raise ValueError(self.message("is empty"))
        digest = file_sha256(self.path)
        suffix = re.search(r"-([0-9a-f]{8})\.(?:pth|pt)$", self.path.name)
        promised = OPENAI_SHA256.get(self.path.name) or (suffix and suffix.group(1))
        if promised and not digest.startswith(promised):
            raise ValueError(
                self.message(
                    f"is damaged or another file: its SHA-256 starts with {digest[:8]}, {self.path.name} has "
                    f"{promised} (rename it if it is meant to differ)"
                )
            )
        return digest

    def check_header(self) -> None:
        """Raise ``ValueError`` for a folder, an empty file, or one that does not begin as weights do."""
        if self.path.is_dir():
            raise ValueError(self.message("is a folder, not a file"))
        if self.path.suffix == ".safetensors":
            with self.blamed("is damaged"), safe_open(self.path, "pt") as stored:
                stored.keys()
        elif not zipfile.is_zipfile(self.path) and self.path.open("rb").read(1) != PICKLE:
            raise ValueError(self.message("is damaged or not a file of plain tensors"))

    def state(self) -> dict[str, Tensor]:
        """Tensors by name, of a ``.safetensors`` file or of a pickle that holds nothing but tensors.

        Raises ``ValueError`` for a file that is damaged or holds anything else.
        """
        _ = self.sha256  # checked before anything is read
        with self.blamed("is damaged or not a file of plain tensors, and nothing else is unpickled"):
            if self.path.suffix == ".safetensors":
                return load_file(self.path)
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        if isinstance(state, dict):
            state = next((state[key] for key in NESTED if isinstance(state.get(key), dict)), state)
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError(self.message("is not a state dict: tensors by name"))
        return state

    def fill(self, model: nn.Module, what: str) -> None:
        """Load into a model of ``what``, which is then frozen; ``ValueError`` for another architecture's weights."""
        state = self.state()
        with self.blamed(f"does not fit {what}"):
            model.load_state_dict(state)
        model.eval().requires_grad_(False)
