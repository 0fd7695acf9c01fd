"""Weights that scores need: what they are, where they come from, and which override takes their path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastvmt.weight_file import WeightFile


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
        "ViT-B-32.pt or an open_clip folder",
        "OpenAI's CLIP release or the Hugging Face repository timm/vit_base_patch32_clip_224.openai",
        "MIT",
        "350 MB to 600 MB",
        "metrics.clip.model",
    ),
    "clip_l14": WeightSource(
        "CLIP ViT-L/14",
        "ViT-L-14.pt or an open_clip folder",
        "OpenAI's CLIP release or the Hugging Face repository timm/vit_large_patch14_clip_224.openai",
        "MIT",
        "900 MB to 1.7 GB",
        "metrics.weights.clip_l14",
    ),
    "dino": WeightSource(
        "DINO ViT-B/16",
        "dino_vitbase16_pretrain.pth or model.safetensors",
        "the facebookresearch/dino release or the Hugging Face repository timm/vit_base_patch16_224.dino",
        "Apache-2.0",
        "340 MB",
        "metrics.weights.dino",
    ),
    "aesthetic": WeightSource(
        "aesthetic head",
        "sa_0_4_vit_l_14_linear.pth",
        "the repository LAION-AI/aesthetic-predictor",
        "MIT",
        "4 KB",
        "metrics.weights.aesthetic",
    ),
    "amt": WeightSource(
        "AMT-S",
        "amt-s.pth",
        "the MCG-NKU/AMT release",
        "CC-BY-NC 4.0, not for commercial use",
        "12 MB",
        "metrics.weights.amt",
    ),
    "amt_checkout": WeightSource(
        "AMT",
        "the repository folder (with networks/AMT-S.py)",
        "the repository MCG-NKU/AMT",
        "CC-BY-NC 4.0, not for commercial use",
        "a source checkout",
        "metrics.weights.amt_checkout",
    ),
    "raft": WeightSource(
        "RAFT",
        "raft_large_C_T_V1-22a6c225.pth",
        "torchvision's model files (RAFT large, C_T_V1)",
        "BSD-3-Clause",
        "20 MB",
        "metrics.weights.raft",
    ),
}


def locate(name: str, path: str | Path | None) -> WeightFile:
    """The weights ``name`` of ``SOURCES``; raises :class:`MissingWeightsError` if their path leads nowhere."""
    source = SOURCES[name]
    found = None if path is None else Path(path).expanduser()
    if found is None or not found.exists():
        raise source.missing(path)
    need = f"{source.file} from {source.origin} ({source.size}, licence {source.licence})"
    return WeightFile(found, source.override, need)
