"""What the tables share: composing and running a row, and what makes two rows comparable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fastvmt import compose
from fastvmt.cache import content_key
from fastvmt.engine.run import run
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import Scored, score_column
from fastvmt.results.folder import RunFolder, slug
from fastvmt.results.statistics import compare

RESULTS = Path(__file__).parent / "results"
DIGITS = 12
"""Of the hashes in logs."""
READ_BY_METHOD = ("window", "skip", "guidance")
"""Groups that reach a run through the method's node alone."""
NO_SETTINGS = (
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
"""Keys that change no line of a log."""


def composed(overrides: Sequence[str]) -> DictConfig:
    """A configuration without W&B; ``output_dir`` is among the overrides of whatever writes files."""
    return compose.composed(["logger=none", "output_dir=unused", *overrides])


def run_row(
    name: str, overrides: Sequence[str], folder: Path, cases: int, benchmark: str = "world"
) -> list[CaseRecord]:
    """Records of one row, one per case of a benchmark; finished cases are kept."""
    out = folder / slug(name)
    run(composed([f"benchmark={benchmark}", f"benchmark.cases={cases}", f"output_dir={out}", *overrides]))
    return RunFolder(out).records()


def settings_hash(cfg: DictConfig, but: Sequence[str] = ("benchmark", "seed")) -> str:
    """Hash of everything that changes results, by default but for the cases and their seeds.

    The method's own node holds what it reads of the numbers' groups, which are left out: a new default of
    FastVMT's makes no other method's line old.
    """
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    kept = {key: value for key, value in resolved.items() if key not in (*READ_BY_METHOD, *NO_SETTINGS, *but)}
    return content_key(config=kept)[:DIGITS]


def difference(records: Sequence[Scored], base: Sequence[Scored], score: str) -> tuple[float, float, float, int]:
    """Mean of paired differences to ``base``, its 95 % interval over references, and the number of cases."""
    result = compare(score_column(records, score), score_column(base, score))
    return result.mean, result.low, result.high, result.n
