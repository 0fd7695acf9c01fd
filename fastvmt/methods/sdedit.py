"""SDEdit: start from the noised reference and denoise with the prompt; no guidance."""

from __future__ import annotations

from fastvmt.methods.base import Method
from fastvmt.settings import check


class SDEdit(Method):
    """The control for every method that starts at ``sampler.strength`` below 1."""

    name = "sdedit"

    def __init__(self, strength: float) -> None:
        """``strength`` is the sampler's. Raises ``ValueError`` at 1, where nothing of the reference would be left."""
        legal = "below 1 for method=sdedit, e.g. 0.75; from pure noise it is method=none"
        check(0 < strength < 1, "sampler.strength", strength, legal)
