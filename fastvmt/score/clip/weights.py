"""CLIP from local files, through open_clip. Nothing is downloaded.

OpenAI's CLIP uses quick-GELU. Built with plain GELU the same weights load without an error and give
wrong embeddings, so bare tensors are only read when their architecture says which of the two it needs.
"""

from __future__ import annotations

import fastvmt.torchvision_ops  # noqa: F401  before open_clip, which imports torchvision

# isort: split
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from fastvmt.score.clip.files import ARCHITECTURE, FOLDER
from fastvmt.score.weights import MissingWeightsError
from fastvmt.weight_file import WeightFile

CONVERT = "convert it with python -m experiments.tools.convert_clip"


@dataclass(frozen=True)
class LoadedClip:
    """A CLIP model of open_clip's in float32, its tokenizer, and how to prepare images."""

    model: Any
    """``encode_image`` and ``encode_text`` are not normalised."""
    tokenizer: Callable[..., Tensor]
    """(prompts, context_length) to tokens; cuts what is too long and keeps the end token."""
    form: str
    sha256: str

    @property
    def context(self) -> int:
        """Tokens of a prompt, start and end included."""
        return int(self.model.context_length)

    @property
    def size(self) -> int:
        """Side of the images, pixels."""
        size = self.model.visual.image_size
        return int(size if isinstance(size, int) else size[0])

    @property
    def prepare(self) -> dict[str, Any]:
        """``mean``, ``std`` and, where stated, ``interpolation`` and ``resize_mode`` of open_clip's image transform."""
        stated = dict(getattr(self.model.visual, "preprocess_cfg", {}))
        known = {key: stated[key] for key in ("mean", "std", "interpolation", "resize_mode") if stated.get(key)}
        return {"mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD} | known


def load_clip(
    file: WeightFile, device: str, architecture: str = ARCHITECTURE, quick_gelu: bool | None = None
) -> LoadedClip:
    """Load CLIP in float32; the weights' SHA-256 and tensors are checked before the model is built.

    Args:
        file: an open_clip folder, OpenAI's archive (``.pt``), or tensors alone (``.safetensors``).
        architecture: open_clip's name, for tensors alone; the other forms say it themselves.
        quick_gelu: which GELU tensors alone need; None takes it from a name that ends in ``-quickgelu``.

    Raises ``MissingWeightsError`` for an incomplete folder, ``ValueError`` for damaged files and those that do not fit.
    """
    if file.path.is_dir():
        return folder_clip(file, device)
    if file.path.suffix == ".safetensors":
        return tensors_clip(file, device, architecture, quick_gelu)
    sha256 = file.sha256
    if zipfile.is_zipfile(file.path) and not is_archive(file.path):
        file.state()  # says what is wrong with a file of anything but tensors
        raise ValueError(file.message(f"holds tensors in a form that only the converter reads: {CONVERT}"))
    with file.blamed("is damaged or not an archive of OpenAI's CLIP"):
        model = open_clip.load_openai_model(str(file.path), precision="fp32", device=device)
    return LoadedClip(model.eval(), open_clip.SimpleTokenizer(), "OpenAI archive", sha256)


def is_archive(path: Path) -> bool:
    """Whether a zip file is a TorchScript archive, as OpenAI's: code lies beside the tensors, nothing is pickled."""
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def folder_clip(file: WeightFile, device: str) -> LoadedClip:
    """open_clip's own layout, which carries architecture, preprocessing and sometimes a tokenizer."""
    missing = [name for name in FOLDER if not (file.path / name).is_file()]
    if missing:  # open_clip would go on with random weights
        hint = f" (a folder of transformers': {CONVERT})" if (file.path / "config.json").is_file() else ""
        raise MissingWeightsError(file.message(f"lacks {', '.join(missing)}{hint}"))
    weights = replace(file, path=file.path / FOLDER[1])
    weights.state()
    name = f"local-dir:{file.path}"
    with file.blamed(f"is no CLIP folder of open_clip's: {' and '.join(FOLDER)} do not fit together"):
        model = open_clip.create_model(name, device=device, precision="fp32")
        tokenizer = open_clip.get_tokenizer(name)
    return LoadedClip(model.eval(), tokenizer, "open_clip folder", weights.sha256)


def tensors_clip(file: WeightFile, device: str, architecture: str, quick_gelu: bool | None) -> LoadedClip:
    """Tensors alone: the architecture is named by the caller."""
    if architecture not in open_clip.list_models():
        raise ValueError(
            f"architecture={architecture!r} is unknown to open_clip: set metrics.clip.architecture=ViT-B-32-quickgelu "
            "or ViT-L-14-quickgelu for OpenAI's weights, see open_clip.list_models()"
        )
    named_quick = architecture.endswith("-quickgelu")
    if not named_quick and quick_gelu is None:
        raise ValueError(
            f"architecture={architecture!r} with a file of weights does not say which GELU they need: set "
            f"metrics.clip.architecture={architecture}-quickgelu for OpenAI's weights, or "
            "metrics.clip.quick_gelu=false for weights trained with plain GELU"
        )
    if named_quick and quick_gelu is False:
        raise ValueError(f"quick_gelu=false contradicts architecture={architecture!r}: drop one of the two")
    file.state()
    with file.blamed(
        f"does not fit architecture={architecture!r} (of metrics.clip.model: set metrics.clip.architecture)"
    ):
        model = open_clip.create_model(
            architecture, pretrained=str(file.path), device=device, precision="fp32", force_quick_gelu=bool(quick_gelu)
        )
    return LoadedClip(model.eval(), open_clip.get_tokenizer(architecture), architecture, file.sha256)
