"""Plain text-to-video from pure noise: what the prompt gives without a reference."""

from __future__ import annotations

from fastvmt.methods.base import Method


class NoTransfer(Method):
    """Ignores the reference, whatever ``sampler.strength`` says about the start."""

    name = "none"
    uses_strength = False
