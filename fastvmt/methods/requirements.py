"""What a backbone must have for a method's settings: each rule once, checked before any weight loads."""

from __future__ import annotations

from fastvmt.backbones.layout import Layout
from fastvmt.settings import Window


def check_frames(least: int, layout: Layout, name: str) -> None:
    """Raise ``ValueError`` when a clip has fewer latent frames than the method of this name needs."""
    if layout.grid[0] < least:
        needed = (least * layout.patch[0] - 1) * layout.temporal_factor + 1
        raise ValueError(
            f"backbone.frames={layout.frames} gives {layout.grid[0]} latent frame(s) of {layout.name}: "
            f"{name} needs at least {least}, set backbone.frames={needed} or more"
        )


def check_solver(name: str, repeats: str | None, layout: Layout) -> None:
    """Raise ``ValueError`` for a solver with a history where steps are repeated, or noise levels are the model's."""
    if name != "euler" and repeats is not None:
        raise ValueError(
            f"sampler.name={name} keeps a history of its steps, in which those that {repeats} repeats would count "
            "twice: set sampler.name=euler"
        )
    if name != "euler" and layout.own_levels:
        raise ValueError(
            f"sampler.name={name} needs noise levels of a flow, but {layout.name} has its own: set sampler.name=euler"
        )


def check_window(window: Window, layout: Layout) -> None:
    """Raise ``ValueError`` when windows span more latent frames than a clip has, or tiles are larger than a frame."""
    frames, *frame = layout.grid
    if window.sf >= frames:
        raise ValueError(
            f"window.sf={window.sf} must be below the {frames} latent frames of {layout.name}: "
            f"set window.sf to 1..{frames - 1} or raise backbone.frames"
        )
    if any(side > extent for side, extent in zip(window.tile, frame, strict=True)):
        raise ValueError(
            f"window.tile={list(window.tile)} is larger than the {frame[0]} x {frame[1]} tokens of a frame of "
            f"{layout.name}: set window.tile to at most [{frame[0]},{frame[1]}]"
        )
