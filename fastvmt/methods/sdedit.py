"""SDEdit: start from the noised reference and denoise with the prompt; no guidance."""

from __future__ import annotations

from fastvmt.methods.base import Method


class SDEdit(Method):
    """The control for every method that starts at ``sampler.strength`` below 1."""

    name = "sdedit"
    needs_strength = True
