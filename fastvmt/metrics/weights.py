"""Weight files that the user brings: named when missing, checked, and read without unpickling code."""

from __future__ import annotations

import hashlib
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

OPENAI_SHA256 = {"ViT-B-32.pt": "40d36571", "ViT-L-14.pt": "b8cca3fd"}
"""First digits of the SHA-256 of OpenAI's archives, as in the addresses that they were published under."""


class MissingWeightsError(FileNotFoundError):
    """Weights that a score needs are not on this machine."""


@dataclass(frozen=True)
class WeightSource:
    """What a weight file is, where it comes from and which override takes its path."""

    what: str
    file: str
    origin: str
    licence: str
    size: str
    override: str

    def missing(self, path: str | Path | None) -> MissingWeightsError:
        """The one message for an unset or wrong path."""
        state = "is not set" if path is None else f"does not exist: {str(path)!r}"
        return MissingWeightsError(
            f"{self.what}: the path of {self.file} {state}. Get it from {self.origin} ({self.size}, licence "
            f"{self.licence}) and set {self.override}=<path>, or leave its scores out with metrics.on_missing=skip."
        )


SOURCES = {
    "clip": WeightSource(
        "CLIP ViT-B/32",
        "ViT-B-32.pt, an open_clip or a transformers CLIP folder",
        "OpenAI's CLIP release or the Hugging Face repository timm/vit_base_patch32_clip_224.openai",
        "MIT", "350 MB to 600 MB", "metrics.clip.model",
    ),
    "clip_l14": WeightSource(
        "CLIP ViT-L/14",
        "ViT-L-14.pt, an open_clip or a transformers CLIP folder",
        "OpenAI's CLIP release or the Hugging Face repository timm/vit_large_patch14_clip_224.openai",
        "MIT", "900 MB to 1.7 GB", "metrics.weights.clip_l14",
    ),
    "dino": WeightSource(
        "DINO ViT-B/16", "dino_vitbase16_pretrain.pth or model.safetensors",
        "the facebookresearch/dino release or the Hugging Face repository timm/vit_base_patch16_224.dino",
        "Apache-2.0", "340 MB", "metrics.weights.dino",
    ),
    "aesthetic": WeightSource(
        "aesthetic head", "sa_0_4_vit_l_14_linear.pth", "the repository LAION-AI/aesthetic-predictor",
        "MIT", "4 KB", "metrics.weights.aesthetic",
    ),
    "amt": WeightSource(
        "AMT-S", "amt-s.pth", "the MCG-NKU/AMT release",
        "CC-BY-NC 4.0, not for commercial use", "12 MB", "metrics.weights.amt",
    ),
    "amt_checkout": WeightSource(
        "AMT", "the repository folder (with networks/AMT-S.py)", "the repository MCG-NKU/AMT",
        "CC-BY-NC 4.0, not for commercial use", "a source checkout", "metrics.weights.amt_checkout",
    ),
    "raft": WeightSource(
        "RAFT", "raft_large_C_T_V1-22a6c225.pth", "torchvision's model files (RAFT large, C_T_V1)",
        "BSD-3-Clause", "20 MB", "metrics.weights.raft",
    ),
}  # fmt: skip


def locate(name: str, path: str | Path | None) -> Path:
    """The path of the weights ``name`` of ``SOURCES``; raises :class:`MissingWeightsError` if it leads nowhere."""
    found = None if path is None else Path(path).expanduser()
    if found is None or not found.exists():
        raise SOURCES[name].missing(path)
    return found


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checked_sha256(path: Path) -> str:
    """SHA-256 of a file; ``ValueError`` if it contradicts the one that the file's name promises.

    OpenAI's two archives are known by name; other names may end in ``-<first 8 digits>.pth``.
    """
    digest = sha256_of(path)
    suffix = re.search(r"-([0-9a-f]{8})\.(?:pth|pt)$", path.name)
    promised = OPENAI_SHA256.get(path.name) or (suffix and suffix.group(1))
    if promised and not digest.startswith(promised):
        raise ValueError(
            f"{str(path)!r} is damaged or another file: its SHA-256 starts with {digest[:8]}, {path.name} has "
            f"{promised}. Download it again, or rename it if it is meant to differ"
        )
    return digest


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, or of a pickle that holds nothing but tensors and plain containers.

    Raises ``ValueError`` for a file that holds anything else.
    """
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{str(path)!r} is not a plain weight file, and is not unpickled: {error}") from error
    return state
