"""What the settings of the scores must be, found without loading a network: for dry runs, and before anything loads."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastvmt.score.amt import CHECKOUT
from fastvmt.score.clip.files import ARCHITECTURE, CLIP, FOLDER, PREPROCESSING
from fastvmt.score.networks import CLIP_KEYS, clip_path
from fastvmt.score.registry import entries, weight_sources
from fastvmt.score.weights import MissingWeightsError
from fastvmt.settings import LARGEST_STEP, check, check_choice, check_range

ON_MISSING = ("error", "skip")


def check_settings(
    names: Sequence[str],
    also: Sequence[str],
    clip: Mapping[str, Any],
    weights: Mapping[str, str | None],
    on_missing: str,
) -> None:
    """Raise ``ValueError`` for an unknown score, key or choice, or a value of a wrong type or out of its range."""
    for key, listed in (("names", names), ("also", also)):
        if unknown := [name for name in listed if name not in entries()]:
            near = difflib.get_close_matches(str(unknown[0]), entries(), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"metrics.{key} has {unknown[0]!r}: {hint}The scores are {', '.join(entries())}")
    check_choice("metrics.on_missing", on_missing, ON_MISSING)
    weight_keys = sorted(weight_sources().keys() - {CLIP.name})
    for group, given, known in (("clip", clip, CLIP_KEYS), ("weights", weights, weight_keys)):
        if unknown := [key for key in given if key not in known]:
            raise ValueError(f"metrics.{group}.{unknown[0]} is not a key; it has {', '.join(known)}")
    paths = {f"metrics.weights.{name}": path for name, path in weights.items()}
    for key, path in (paths | {"metrics.clip.model": clip.get("model")}).items():
        check(path is None or isinstance(path, str), key, path, "a path, or null")
    check_choice("metrics.clip.preprocess", clip.get("preprocess", "pil"), PREPROCESSING)
    check_architecture(clip.get("architecture"))
    gelu = clip.get("quick_gelu")
    scale = clip.get("scale", 1.0)
    check(gelu is None or isinstance(gelu, bool), "metrics.clip.quick_gelu", gelu, "true, false or null")
    number = isinstance(scale, int | float) and not isinstance(scale, bool)
    check(number, "metrics.clip.scale", scale, "a number")
    check_range("metrics.clip.scale", scale, 0, LARGEST_STEP, above=True)


def check_architecture(architecture: Any) -> None:
    """Raise ``ValueError`` for a name that open_clip does not know; None is the default."""
    if architecture in (None, ARCHITECTURE):
        return
    import fastvmt.torchvision_ops  # noqa: F401  before open_clip, which imports torchvision

    # isort: split
    import open_clip  # takes seconds, and hardly anyone names an architecture

    check(architecture in open_clip.list_models(), "metrics.clip.architecture", architecture, "one of open_clip's")


def check_files(
    names: Sequence[str], clip: Mapping[str, Any], weights: Mapping[str, str | None], on_missing: str
) -> None:
    """Raise ``ValueError`` for weights that the scores need and that cannot be read, ``MissingWeightsError`` for none.

    With ``on_missing=skip`` scores without weights are n/a, and files that are there must still be weights.
    """
    for source in dict.fromkeys(each for name in names for each in entries()[name].weights):
        path = clip_path(clip.get("model")) if source is CLIP else weights.get(source.name)
        try:
            file = source.locate(path)
            if source is CLIP and file.path.is_dir():
                if missing := [name for name in FOLDER if not (file.path / name).is_file()]:
                    raise MissingWeightsError(file.message(f"lacks {', '.join(missing)}"))
            elif source is CHECKOUT:
                if not (file.path / "networks" / "AMT-S.py").is_file():
                    raise source.missing(Path(file.path, "networks", "AMT-S.py"))
            else:
                file.check_header()
        except MissingWeightsError:
            if on_missing == "error":
                raise
