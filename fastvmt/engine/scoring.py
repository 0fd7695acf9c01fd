"""Scores of clips that exist already: no diffusion model is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from fastvmt.config import config_folder
from fastvmt.data.alignment import align
from fastvmt.data.frame_folder import clip_sha256, read_clip
from fastvmt.data.triples import Triple
from fastvmt.engine.plan import UserError, construct, make_tracker
from fastvmt.engine.record import Record, score_summaries
from fastvmt.engine.tables import HEADLINE, SHOWN, show, summary_table
from fastvmt.metrics.scorers import Sample
from fastvmt.scores import Scores


@dataclass(frozen=True)
class Policy:
    """How clips are made comparable, see :func:`fastvmt.data.alignment.align`."""

    align: str = "truncate"
    frames: int | None = None
    match_rate: bool = True
    folder_fps: float = 24.0
    """Frame rate of folders of pictures, which state none."""


def load_scores(metrics: str, tracker: str, clip: str | None, overrides: Sequence[str]) -> tuple[Scores, Record]:
    """The scores of ``conf/metrics`` with a tracker of ``conf/tracker``, and their resolved configuration.

    Raises :class:`UserError` for unknown options and missing weights.
    """
    chosen = [f"metrics={metrics}", f"tracker={tracker}", "output_dir=unused", *overrides]
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
            cfg: DictConfig = compose("config", overrides=chosen)
    except HydraException as error:
        raise UserError(" ".join(str(error).split())) from error
    if clip is not None:
        cfg.metrics.clip.model = clip
    scores = construct(cfg.metrics, "metrics", tracker=make_tracker(cfg))
    return scores, {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("metrics", "tracker")}


def score_triple(scores: Scores, triple: Triple, policy: Policy) -> Record:
    """Read, align and score; the record has ``scores`` and everything that was changed in ``notes``."""
    made, given = read_clip(triple.generated, policy.folder_fps), read_clip(triple.reference, policy.folder_fps)
    generated, reference, notes = align(made, given, policy.align, frames=policy.frames, match_rate=policy.match_rate)
    if not triple.prompt.strip():
        notes.append("no prompt: text similarity is n/a")
    return {
        **_named(triple),
        "frames": generated.size[0],
        "size": list(generated.size[1:]),
        "sha256": {"generated": clip_sha256(triple.generated), "reference": clip_sha256(triple.reference)},
        "fps": generated.fps,
        "notes": notes,
        "scores": scores.score(Sample(generated, reference, triple.prompt)),
    }


def failed(triple: Triple, error: Exception) -> Record:
    """The record of a triple that could not be scored."""
    return {**_named(triple), "notes": [f"not scored: {error}"], "scores": {}, "error": str(error)}


def _named(triple: Triple) -> dict[str, Any]:
    paths = {"generated": str(triple.generated), "reference": str(triple.reference)}
    return {"id": triple.id, **paths, "prompt": triple.prompt}


def means(records: list[Record]) -> Table:
    """One row per score."""
    lengths = sorted({record["frames"] for record in records if "frames" in record})
    title = f"{len(records)} clips, T = {', '.join(map(str, lengths)) or 'n/a'} frames"
    return summary_table(title, score_summaries(records))


def clip_table(records: list[Record]) -> Table:
    """One row per clip: the headline scores that some clip has, and what was changed before scoring."""
    summaries = score_summaries(records)
    columns = [name for name in HEADLINE if name in summaries and summaries[name].n]
    table = Table(title="clips")
    table.add_column("clip", overflow="fold")
    for name in columns:
        table.add_column(HEADLINE[name], justify="right", no_wrap=True)
    table.add_column("notes")
    for record in records[:SHOWN]:
        values = [show(record["scores"].get(name, math.nan)) for name in columns]
        table.add_row(record["id"], *values, "; ".join(record["notes"]))
    if len(records) > SHOWN:
        table.add_row(f"... {len(records) - SHOWN} more", *[""] * (len(columns) + 1))
    return table
