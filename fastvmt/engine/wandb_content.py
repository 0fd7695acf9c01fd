"""What the W&B run of a row holds: drawn from finished records and their folders, so that it can be written again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fastvmt.cache import content_key
from fastvmt.config import in_sweep
from fastvmt.engine.callback import Outcome
from fastvmt.engine.identity import flat
from fastvmt.engine.module import sweep_row
from fastvmt.engine.session import Session
from fastvmt.files import file_sha256, is_plain
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import healthy, mean_scores, score_column
from fastvmt.results.folder import RunFolder
from fastvmt.results.machines import contended
from fastvmt.results.statistics import compare, summarise
from fastvmt.studies.quantities import RATIO, column
from fastvmt.studies.rows import named_all, number
from fastvmt.sweep import row_name

MOST = 25
"""Keys of a summary: more than that nobody compares."""
COSTS = ("gradients", "loop_seconds", "loop_cpu_seconds", RATIO)
VIDEOS = 8
"""Cases whose videos are logged, the first by name: the same ones in every row."""
ELSEWHERE = (
    *("output_dir", "cache_dir", "overwrite", "rerun", "dry", "plan", "swept", "objective", "table"),
    *("logger", "trainer", "threads", "device"),
)
"""Keys that say where and how something runs, and not what."""
SYMBOLS = {"delta": "Δ"}
AXES = {"l": "l", "sf": "sf", "tile": "tile", "delta": "delta", "fraction": "fraction", "block": "block"} | {
    "iterations": "J"
}
"""The papers' numbers by the last part of their key below ``method``."""


@dataclass(frozen=True)
class RunIdentity:
    """How W&B knows a run, before anything has been computed."""

    id: str
    """The same for the same row of the same study, or for the same settings: a repetition takes a run's place."""
    name: str
    group: str | None
    job_type: str
    tags: Sequence[str]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class RunContent:
    """What came of a row."""

    summary: Mapping[str, float]
    cases: Sequence[Mapping[str, float]]
    """``case/<quantity>`` over ``case/index``, in the order of the cases' names."""
    inner: Sequence[Mapping[str, float]]
    """``inner/<quantity>``, means over cases, over ``inner/iteration``."""
    table: tuple[list[str | int], list[list[Any]]]
    """Columns and rows, a case each."""
    videos: Mapping[str, Path]

    def digest(self, identity: RunIdentity, exit_code: int) -> str:
        """Hash all that W&B would get."""
        videos = {key: file_sha256(file) for key, file in self.videos.items()}
        return content_key(run=asdict(identity), content=asdict(self) | {"videos": videos}, exit_code=exit_code)


def run_identity(session: Session) -> RunIdentity:
    """Identify the run of a session's row, or of a single run."""
    plan = session.plan
    cfg = plan.cfg
    whole = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    assert isinstance(whole, dict)
    config = {str(key): value for key, value in whole.items()}
    row = sweep_row(cfg.swept)
    values = {} if row is None else dict(row["values"])
    group: str | None = cfg.logger.group
    if in_sweep():
        study = Path(HydraConfig.get().sweep.dir)
        place = [group or study.resolve().as_posix(), Path(cfg.output_dir).name]
        group = group or study.as_posix()
    else:
        place = [group or "", content_key(config={key: config[key] for key in config if key not in ELSEWHERE})]
    numbers = {key: value if number(value) is None else number(value) for key, value in values.items()}
    return RunIdentity(
        id=content_key(run=place)[:16],
        name=named_all(values, " ", SYMBOLS) or f"{plan.method.name}-{session.key[:8]}",
        group=group,
        job_type=plan.method.name,
        tags=tags(cfg),
        config=config | {"paper": paper_axes(config["method"]), "values": numbers},
    )


def tags(cfg: DictConfig) -> list[str]:
    """Name the backbone, and the benchmark and the experiment that were chosen on a command line."""
    chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    found = (cfg.backbone.name, *(chosen.get(group) for group in ("benchmark", "experiment")))
    return list(dict.fromkeys(str(name)[:64] for name in found if name not in (None, "none")))


def paper_axes(method: Mapping[str, Any]) -> dict[str, float | str]:
    """Give the papers' numbers that a method reads, as axes of W&B: numbers, or words such as ``2x2``."""
    found = {AXES[last]: value for key, value in flat(method).items() if (last := key.split(".")[-1]) in AXES}
    words = {name: "x".join(map(str, value)) for name, value in found.items() if isinstance(value, list)}
    return {name: value for name, value in (found | words).items() if isinstance(value, int | float | str)}


def run_content(session: Session, outcomes: Sequence[Outcome]) -> RunContent:
    """Draw the content from what came of the cases, of all processes."""
    outcomes = sorted(outcomes, key=lambda outcome: outcome.record.id)
    records = [outcome.record for outcome in outcomes]
    first = outcomes[:VIDEOS]
    return RunContent(
        summary=summary_of(records, list(session.scores.headline), base_records(session.plan.cfg)),
        cases=[{"case/index": i, **finite(case_row(record), "case/")} for i, record in enumerate(records)],
        inner=inner_means([trace for each in outcomes if (trace := trace_of(each))]),
        table=case_table(records),
        videos={f"video/{o.folder.path.name}": o.folder.side_by_side for o in first if is_plain(o.folder.side_by_side)},
    )


def base_records(cfg: DictConfig) -> list[CaseRecord]:
    """Read the row that the study's table compares others with; nothing where it is not named or not finished yet."""
    if not in_sweep() or not cfg.table.base:
        return []
    base = {str(key): str(value) for key, value in sorted(cfg.table.base.items())}
    folder = RunFolder(Path(HydraConfig.get().sweep.dir) / "rows" / row_name(base))
    return folder.records() if is_plain(folder.result) else []


def summary_of(records: list[CaseRecord], headline: list[str], base: list[CaseRecord]) -> dict[str, float]:
    """Count cases, average costs, then as many scores as there is room for, those of the headline first.

    Before them stands the paired difference of the first one to the base row, if that is there, with its interval.
    """
    found: dict[str, float] = {
        "n": len(healthy(records)),
        "diverged": len(records) - len(healthy(records)),
        "contended": sum(contended(record) for record in records),
    }
    costs = {name: summarise(column(records, name, base)).mean for name in COSTS}
    scores = {name: float(row["mean"]) for name, row in mean_scores(records).items()}
    found |= finite(costs) | finite(difference_of(records, headline, base))
    found |= finite({name: scores[name] for name in sorted(scores, key=lambda n: n not in headline)})
    return dict(list(found.items())[:MOST])


def difference_of(records: list[CaseRecord], headline: list[str], base: list[CaseRecord]) -> dict[str, float]:
    """Compare the first score of the headline with the base row's, over the cases that both have."""
    if not headline or not base:
        return {}
    name = headline[0]
    found = compare(score_column(records, name), score_column(base, name))
    values = {"": found.mean, "_low": found.low, "_high": found.high}
    return {f"difference/{name}{end}": value for end, value in values.items()}


def case_row(record: CaseRecord) -> dict[str, float]:
    """Give a case's scores and costs; a diverged one has none."""
    costs = {name: value for name in COSTS for value in column([record], name, []).values()}
    return {**record.scores, **{f"seconds/{stage}": value for stage, value in record.seconds.items()}, **costs}


def finite(values: Mapping[str, float], prefix: str = "") -> dict[str, float]:
    """Leave out what is missing."""
    return {f"{prefix}{name}": value for name, value in values.items() if np.isfinite(value)}


def trace_of(outcome: Outcome) -> list[dict[str, float]]:
    """Read the inner optimisation of a case that came through, a row per iteration."""
    if outcome.record.diverged is not None or not is_plain(outcome.folder.trace):
        return []
    return outcome.folder.read_trace()


def inner_means(traces: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Average traces over cases, iteration by iteration from the first guided step on."""
    rows = []
    for i in range(max(map(len, traces), default=0)):
        there = [trace[i] for trace in traces if i < len(trace)]
        names = dict.fromkeys(name for row in there for name in row)
        means = {name: float(np.mean([row[name] for row in there if name in row])) for name in names}
        rows.append({"inner/iteration": i} | finite({n: v for n, v in means.items() if n != "iteration"}, "inner/"))
    return rows


def case_table(records: Sequence[CaseRecord]) -> tuple[list[str | int], list[list[Any]]]:
    """Make a table with a row per case."""
    scores = list(dict.fromkeys(name for record in records for name in record.scores))
    rows = [
        [r.id, r.category, r.prompt, *(r.scores.get(name) for name in scores), r.seconds.get("total")] for r in records
    ]
    return ["case", "category", "prompt", *scores, "seconds"], rows
