"""What ``python -m fastvmt.score`` does: find clips, score them, print and write. No generator is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fastvmt.benchmarks import ManifestBenchmark
from fastvmt.compose import composed
from fastvmt.construct import construct
from fastvmt.data.frame_folder import is_frame_folder
from fastvmt.data.triples import LISTS, VIDEOS, Triple, listed, matched, read_prompts
from fastvmt.engine import out_of_memory
from fastvmt.engine.plan import cache_of, make_tracker
from fastvmt.errors import UserError
from fastvmt.files import write_json
from fastvmt.results.columns import mean_scores, score_summaries
from fastvmt.results.doubts import doubt_notes
from fastvmt.results.folder import slug
from fastvmt.results.provenance import provenance
from fastvmt.results.tables import SHOWN, explain, shown_score, summary_table, with_coverage
from fastvmt.score.arguments import parser
from fastvmt.score.files import Policy, failed, score_triple
from fastvmt.score.networks import clip_path
from fastvmt.score.scores import Scores
from fastvmt.terminal import literal_text


@dataclass(frozen=True)
class ScoredClip:
    """What the columns of results need of a clip's record."""

    id: str
    scores: Mapping[str, float]
    frames: int
    pooled: Sequence[str]


def scored_clips(records: Sequence[Mapping[str, Any]]) -> list[ScoredClip]:
    """Records as columns take them; those that could not be scored have no score."""
    return [ScoredClip(r["id"], r["scores"], r.get("frames", 0), r.get("pooled", ())) for r in records]


def configuration(a: argparse.Namespace) -> DictConfig:
    """What the arguments choose."""
    options = [
        "cache_dir=null",
        f"metrics={a.metrics}",
        f"tracker={a.tracker}",
        f"benchmark={'manifest' if a.manifest else 'demo'}",
    ]
    manifest = str(a.manifest) if a.manifest else None
    values = {"metrics.clip.model": a.clip, "metrics.frames": a.frames, "benchmark.path": manifest}
    return composed([*options, *a.set], values)


def manifest_triples(cases: ManifestBenchmark, folder: Path) -> tuple[list[Triple], list[str]]:
    """Clips in a folder that belong to a manifest's cases, and the ids of cases without one.

    The case ``a/b/s0`` is ``a/b/s0``, ``a-b-s0``, as a run's ``cases`` folder has it, or ``a`` if that has one case.
    """
    triples = []
    alone = []
    references = [case_id.split("/")[0] for case_id, *_ in cases.listed]
    for (case_id, reference, prompt), name in zip(cases.listed, references, strict=True):
        own = slug(case_id)
        names = [case_id, own, f"{own}/generated_lossless", f"{own}/generated", *[name] * (references.count(name) == 1)]
        options = [folder / f"{name}{suffix}" for name in names for suffix in (*VIDEOS, "")]
        if found := next((path for path in options if path.is_file() or is_frame_folder(path)), None):
            triples.append(Triple(case_id, found, reference, prompt))
        else:
            alone.append(case_id)
    if not triples:
        raise ValueError(f"no clip in {str(folder)!r} has the name of a case, such as {slug(alone[0])}.mp4")
    return triples, alone


def find_triples(a: argparse.Namespace, cases: ManifestBenchmark | None) -> tuple[list[Triple], list[str]]:
    """What to score, and names without a partner."""
    naming = a.manifest or (a.generated.suffix.lower() in LISTS and a.generated)
    if naming and (a.reference or a.prompt or a.prompts):
        raise UserError(f"the list {naming} names references and prompts itself: give it alone")
    if cases is not None:
        return manifest_triples(cases, a.generated)
    if naming:
        return listed(a.generated), []
    if a.reference is None:
        raise UserError(f"no reference for {a.generated}: give a clip or a folder as the second argument")
    prompts = read_prompts(a.prompts) if a.prompts else {}
    return matched(a.generated, a.reference, prompts, a.prompt)


def records_of(
    scores: Scores,
    triples: Sequence[Triple],
    policy: Policy,
    cases: ManifestBenchmark | None,
    on_error: str,
    console: Console,
) -> Iterator[dict[str, Any]]:
    """One record per triple; :class:`UserError` for one that cannot be scored, unless it is to be skipped."""
    for triple in track(triples, "clips", console=console, transient=True):
        try:
            yield score_triple(scores, triple, policy, cases)
        except (ValueError, OSError) as error:
            if on_error == "stop":
                raise UserError(f"{triple.id}: {error}") from error
            yield failed(triple, error)


def policy_of(a: argparse.Namespace, cfg: DictConfig) -> Policy:
    """How the arguments want clips to be made comparable, and which of them a shipped CLIP model may judge."""
    model = cfg.metrics.clip.model
    judge = None if a.clip or clip_path(model) == model else model
    return Policy(a.align, not a.ignore_rate, a.folder_fps, a.size, judge, cfg.backbone.name)


def score_all(a: argparse.Namespace, console: Console) -> None:
    """Find, score, print and write. Raises what the user can mend."""
    cfg = configuration(a)
    cases: ManifestBenchmark | None = None
    if a.manifest:
        cases = construct(cfg.benchmark, "benchmark", clip=None, fps=1.0, sample_seed=cfg.seed)
    triples, alone = find_triples(a, cases)
    policy = policy_of(a, cfg)
    with out_of_memory.refused_scores():
        scores: Scores = construct(cfg.metrics, "metrics", tracker=make_tracker(cfg, cache_of(cfg)))
        records = list(records_of(scores, triples, policy, cases, a.on_error, console))
    console.print(clip_table(records, scores.headline))
    lengths = sorted({record["frames"] for record in records if "frames" in record})
    title = f"{len(records)} clips, T = {', '.join(map(str, lengths)) or 'n/a'} frames"
    console.print(summary_table(title, score_summaries(scored_clips(records))))
    if alone:
        console.print(literal_text(f"without a partner, not scored ({len(alone)}): {', '.join(alone)}"))
    file = a.output or Path("outputs", "scores", f"{datetime.now():%Y-%m-%d_%H-%M-%S}.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "scores": mean_scores(scored_clips(records)),
        "clips": records,
        "unmatched": alone,
        "policy": vars(policy),
        "config": {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("metrics", "tracker")},
        "metrics": scores.provenance() | {"scored_from": "file"},
    }
    write_json(file, content | provenance())
    console.print(literal_text(f"written: {file}"), soft_wrap=True)


def clip_table(records: Sequence[Mapping[str, Any]], headline: Mapping[str, str]) -> Table:
    """One row per clip: the ``headline`` scores that some clip has, and what was changed before scoring."""
    summaries = score_summaries(scored_clips(records))
    columns = [name for name in with_coverage(headline) if name in summaries and summaries[name].n]
    table = Table(title="clips")
    table.add_column("clip", overflow="fold")
    for name in columns:
        table.add_column(literal_text(headline.get(name, name)), justify="right", no_wrap=True)
    table.add_column("notes")
    for record in records[:SHOWN]:
        values = [shown_score(record["scores"], name) for name in columns]
        table.add_row(literal_text(record["id"]), *values, literal_text("; ".join(record["notes"])))
    if len(records) > SHOWN:
        table.add_row(f"... {len(records) - SHOWN} more", *[""] * (len(columns) + 1))
    explain(table, doubt_notes({"": [record["scores"] for record in records]}, columns))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    try:
        score_all(arguments, Console())
    except (UserError, ValueError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(f"fastvmt.score: {error}", markup=False, highlight=False)
        return 2
    return 0
