"""A weight file that scores need: declared beside what reads it, with the override that takes its path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastvmt.weight_file import WeightFile


class MissingWeightsError(FileNotFoundError):
    """Weights that a score needs are not on this machine."""


SKIP = ", or leave its scores out with metrics.on_missing=skip."
"""What else can be done about missing weights, as long as it is not done."""


@dataclass(frozen=True, kw_only=True)
class WeightSource:
    """What a weight file is, where it comes from and which override takes its path."""

    name: str
    """In ``metrics.weights``, but for CLIP ViT-B/32, which has a group of its own."""
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
            f"{self.licence}) and set {self.override}=<path>{SKIP}"
        )

    def locate(self, path: str | Path | None) -> WeightFile:
        """The file at ``path``; raises :class:`MissingWeightsError` if that leads nowhere."""
        found = None if path is None else Path(path).expanduser()
        if found is None or not found.exists():
            raise self.missing(path)
        need = f"{self.file} from {self.origin} ({self.size}, licence {self.licence})"
        return WeightFile(found, self.override, need)
