"""The record of a case: what it is, how its video scored, and how that was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastvmt.algorithm import ALGORITHM
from fastvmt.cost.cost import Cost
from fastvmt.results.case_record import VERSION, CaseRecord, case_key
from fastvmt.results.provenance import frames_sha256
from fastvmt.score.scores import Judged, Scores
from fastvmt.types import PassCounter, TransferCase, Video


@dataclass(frozen=True)
class Making:
    """How a video was made, by whom and at what cost; the fields are those of :class:`CaseRecord`."""

    config: str
    weights: str
    seconds: dict[str, float]
    passes: PassCounter
    declared_passes: PassCounter
    cost: Cost
    reference_cache: dict[str, int]
    peak_memory_gib: dict[str, float]
    device: str
    maker: dict[str, str]


def record_of(
    case: TransferCase, generated: Video | None, judged: Judged, scores: Scores, making: Making
) -> CaseRecord:
    """Give the record of a case, without files; ``generated`` is None where the case diverged."""
    video = generated or case.reference
    hashes = {} if generated is None else {"generated": frames_sha256(generated)}
    return CaseRecord(
        version=VERSION,
        id=case.id,
        algorithm=ALGORITHM,
        case=case_key(case),
        prompt=case.prompt,
        reference=case.reference_prompt or case.reference.name,
        category=case.category,
        seed=case.seed,
        frames=video.size[0],
        size=list(video.size[1:]),
        fps=video.fps,
        frames_sha256=hashes | {"reference": frames_sha256(case.reference)},
        files={},
        **vars(making),
        **judgement_of(judged, scores),
    )


def judgement_of(judged: Judged, scores: Scores) -> dict[str, Any]:
    """Give the fields of a record that say how a video scored, and by what."""
    return {
        "scores": judged.values,
        "notes": judged.notes,
        "score_versions": dict(scores.versions),
        "judges": scores.judges,
        "vbench_compat": scores.vbench_compat,
        "pooled": list(scores.pooled),
    }
