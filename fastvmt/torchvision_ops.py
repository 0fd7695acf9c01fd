"""Make torchvision importable beside a torch build that its compiled operators do not fit.

The package registry's torchvision is compiled against CUDA. Beside a CPU-only torch its C++
library cannot load, and ``import torchvision`` then stops at the missing operators, which takes
transformers, diffusers and open_clip down with it. None of them needs those operators here (only
the Python transforms), so declaring their signatures is enough.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _compiled_operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")  # finds, does not import
    if spec is None or spec.origin is None:
        return True  # nothing to mend: importing it gives its own clear error
    try:
        for library in Path(spec.origin).parent.glob("_C*"):
            torch.ops.load_library(library)
    except OSError:
        return False
    return True


def declare_missing_operators() -> torch.library.Library | None:
    """Declare torchvision's operators if its compiled library cannot load; keep the result alive."""
    if hasattr(torch.ops.torchvision, "nms") or _compiled_operators_load():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for signature in _SIGNATURES:
        library.define(signature)
    return library


LIBRARY = declare_missing_operators()
