"""The embedded model as its yaml file has it, for scripts that measure it outside of a session."""

from __future__ import annotations

from fastvmt.backbones.base import Backbone
from fastvmt.compose import composed
from fastvmt.engine.loaded import load_backbone


def embedded(path: str = "tiny-wan") -> Backbone:
    """Load the embedded model, or another one of its sizes from a folder, on the CPU.

    Raises :class:`fastvmt.errors.UserError` as a run.
    """
    return load_backbone(composed([f"backbone.path={path}", "device=cpu", "cache_dir=null"]), ())
