"""Scores of clips that exist already: no diffusion model is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from fastvmt.benchmarks import ManifestBenchmark
from fastvmt.config import config_folder
from fastvmt.data.alignment import align
from fastvmt.data.frame_folder import clip_sha256, is_frame_folder, read_clip
from fastvmt.data.resample import cover, shrunk
from fastvmt.data.triples import VIDEOS, Triple
from fastvmt.data.video import ENLARGED, read_metadata
from fastvmt.engine.plan import construct, make_tracker
from fastvmt.errors import UserError
from fastvmt.results.columns import score_summaries
from fastvmt.results.folder import slug
from fastvmt.results.tables import HEADLINE, SHOWN, show, summary_table
from fastvmt.score.scorers import Sample
from fastvmt.score.scores import Scores
from fastvmt.types import Video

EMOJI_CLIP, EMOJI_MODEL = "tiny-clip", "tiny-wan"
"""The shipped judge knows the moving-emoji world only, and so what the shipped model makes."""
NO_CLIP = f"no CLIP scores, not made by {EMOJI_MODEL}: pass --clip <CLIP ViT-B/32>, or {EMOJI_CLIP} for its emoji world"


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


@dataclass(frozen=True)
class Policy:
    """How clips are made comparable, see :func:`fastvmt.data.alignment.align`."""

    align: str = "truncate"
    match_rate: bool = True
    folder_fps: float = 24.0
    """Frame rate of folders of pictures, which state none."""
    size: tuple[int, int] | None = None
    """Height and width that clips were generated in, if another system enlarged them since."""
    any_world: bool = False
    """The user chose the CLIP model: it judges all clips."""


def composed(overrides: Sequence[str], values: Mapping[str, Any]) -> DictConfig:
    """``conf/`` with overrides, and values by key unless they are None; :class:`UserError` for unknown options."""
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
            cfg: DictConfig = compose("config", overrides=["output_dir=unused", "cache_dir=null", *overrides])
    except HydraException as error:
        raise UserError(" ".join(str(error).split())) from error
    for key, value in values.items():
        if value is not None:
            OmegaConf.update(cfg, key, value)
    return cfg


def load_scores(cfg: DictConfig) -> tuple[Scores, dict[str, Any]]:
    """The scores of a configuration and what of it matters to them; :class:`UserError` for missing weights."""
    scores = construct(cfg.metrics, "metrics", tracker=make_tracker(cfg))
    return scores, {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("metrics", "tracker")}


def manifest_triples(cases: ManifestBenchmark, folder: Path) -> tuple[list[Triple], list[str]]:
    """Clips in a folder that belong to a manifest's cases, and the ids of cases without one.

    The case ``a/b/s0`` is ``a/b/s0``, ``a-b-s0``, as a run's ``cases`` folder has it, or ``a`` if that has one case.
    """
    triples, alone = [], []
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


def tags(path: Path) -> dict[str, str]:
    """What a file says of itself; folders of pictures say nothing."""
    return read_metadata(path) if path.is_file() else {}


def as_generated(path: Path, policy: Policy, what: str) -> tuple[Video, list[str]]:
    """A clip in the pixels that were generated, and a line for everything that was undone."""
    video, factor, notes = read_clip(path, policy.folder_fps), int(tags(path).get(ENLARGED, 1)), []
    if policy.size is not None:
        factor = max(1, min(now // then for now, then in zip(video.size[1:], policy.size, strict=True)))
    if factor > 1:
        video = shrunk(video, factor)
        notes.append(f"{what} enlarged {factor} times{'' if policy.size else ' by fastvmt'}: shrunk back")
    if policy.size is not None and video.size[1:] != policy.size:
        notes.append(f"{what} of {video.size[1:]} pixels scaled and cropped to {policy.size}")
        video = Video(cover(video.frames_THWC, *policy.size), video.fps, video.name)
    return video, notes


def score_triple(
    scores: Scores, triple: Triple, policy: Policy, cases: ManifestBenchmark | None = None
) -> dict[str, Any]:
    """Read, align and score; ``notes`` say what was changed. With ``cases``, reference and mask are its case's."""
    made, notes = as_generated(triple.generated, policy, "generated")
    if cases is None:
        (given, more), mask, match_rate = as_generated(triple.reference, policy, "reference"), None, policy.match_rate
    else:
        case = cases.fitted(triple.id, made.size)
        given, more, mask, match_rate = case.reference, [], case.foreground_THW, False
    generated, reference, changed = align(made, given, policy.align, match_rate=match_rate)
    if mask is not None:  # goes the way of its clip
        painted = Video(mask[..., None].expand(-1, -1, -1, 3).to(torch.uint8), given.fps)
        mask = align(made, painted, policy.align, match_rate=match_rate)[1].frames_THWC.any(-1)
    notes += more + changed
    if not triple.prompt.strip():
        notes.append("no prompt: text similarity is n/a")
    known = policy.any_world or tags(triple.generated).get("backbone") == EMOJI_MODEL
    strange = set() if known else {i for i, each in scores.scorers.items() if EMOJI_CLIP in str(each.source.get("id"))}
    if strange:
        notes.append(NO_CLIP)
    sample = Sample(generated, reference, triple.prompt, foreground_THW=mask)
    return {
        **_named(triple),
        "frames": scores.frames or generated.size[0],
        "size": list(generated.size[1:]),
        "sha256": {"generated": clip_sha256(triple.generated), "reference": clip_sha256(triple.reference)},
        "fps": generated.fps,
        "notes": notes,
        "vbench_compat": scores.vbench_compat,
        "pooled": list(scores.pooled),
        "scores": scores.score(sample, without=strange),
    }


def failed(triple: Triple, error: Exception) -> dict[str, Any]:
    """The record of a triple that could not be scored."""
    return {**_named(triple), "notes": [f"not scored: {error}"], "scores": {}, "error": str(error)}


def _named(triple: Triple) -> dict[str, Any]:
    paths = {"generated": str(triple.generated), "reference": str(triple.reference)}
    return {"id": triple.id, **paths, "prompt": triple.prompt}


def means(records: list[dict[str, Any]]) -> Table:
    """One row per score."""
    lengths = sorted({record["frames"] for record in records if "frames" in record})
    title = f"{len(records)} clips, T = {', '.join(map(str, lengths)) or 'n/a'} frames"
    return summary_table(title, score_summaries(scored_clips(records)))


def clip_table(records: list[dict[str, Any]]) -> Table:
    """One row per clip: the headline scores that some clip has, and what was changed before scoring."""
    summaries = score_summaries(scored_clips(records))
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
