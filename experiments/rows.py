"""What experiments share: composing a configuration, what makes two lines comparable, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from fastvmt import compose
from fastvmt.cache import content_key
from fastvmt.results.columns import Scored, score_column
from fastvmt.results.statistics import compare

DIGITS = 12
"""Of the hashes in logs."""
READ_BY_METHOD = ("window", "skip", "guidance")
"""Groups that reach a run through the method's node alone."""
NO_SETTINGS = (
    "benchmark",
    "seed",
    "output_dir",
    "cache_dir",
    "dry",
    "overwrite",
    "logger",
    "trainer",
    "objective",
    "device",
    "experiment",
)
"""Keys that change no line of a log, or only choose its cases."""


def composed(overrides: Sequence[str]) -> DictConfig:
    """A configuration without W&B; ``output_dir`` is among the overrides of whatever writes files."""
    return compose.composed(["logger=none", "output_dir=unused", *overrides])


def settings_hash(cfg: DictConfig) -> str:
    """Hash of everything that changes results, but for the cases and their seeds.

    The method's own node holds what it reads of the numbers' groups, which are left out: a new default of
    FastVMT's makes no other method's line old.
    """
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    kept = {key: value for key, value in resolved.items() if key not in (*READ_BY_METHOD, *NO_SETTINGS)}
    return content_key(config=kept)[:DIGITS]


def difference(records: Sequence[Scored], base: Sequence[Scored], score: str) -> tuple[float, float, float, int]:
    """Mean of paired differences to ``base``, its 95 % interval over references, and the number of cases."""
    result = compare(score_column(records, score), score_column(base, score))
    return result.mean, result.low, result.high, result.n
