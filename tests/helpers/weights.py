"""Which weights a line of an experiment comes from."""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.rows import DIGITS
from fastvmt.construct import construct


def weights_hash(cfg: DictConfig) -> str:
    """The first digits of the backbone's hash."""
    fingerprint: str = construct(cfg.backbone, "backbone").fingerprint
    return fingerprint[:DIGITS]
