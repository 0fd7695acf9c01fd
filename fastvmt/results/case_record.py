"""The record of a finished case: what was asked, what came out, what it cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fastvmt.cache import content_key
from fastvmt.cost.cost import Cost
from fastvmt.divergence import Divergence
from fastvmt.files import finite
from fastvmt.results.schema import decoded
from fastvmt.types import PassCounter, TransferCase

VERSION: Literal[5] = 5
"""Rises when a key goes, comes or changes its meaning; records of other versions do not count as finished."""


@dataclass(frozen=True)
class Identity:
    """What a record must agree in to stand for a case that is asked for."""

    config: str
    """Hash of what the configuration says about generating a given case."""
    algorithm: int
    """``fastvmt.algorithm.ALGORITHM``."""
    weights: str
    """SHA-256 of the backbone's weights."""
    case: str
    """:func:`case_key`."""
    score_versions: Mapping[str, int]
    """Of every score's definition, by name."""
    judges: Mapping[str, str]
    """Of every score, a hash of what computes it: networks with their weights, tracker, parameters."""


@dataclass(frozen=True)
class CaseRecord:
    """One finished case, as ``case.json`` and ``result.json`` hold it. NaN, in the files null, is a missing value.

    ``case_record.schema.json`` beside this module is its JSON schema.
    """

    version: Literal[5]
    id: str
    """``reference/prompt/s<seed>``, or the reference's name alone."""
    config: str
    algorithm: int
    weights: str
    case: str
    prompt: str
    reference: str
    """The reference's caption, or its name where it has none."""
    category: str
    seed: int
    frames: int
    size: list[int]
    """Height and width, pixels."""
    fps: float
    frames_sha256: dict[str, str]
    """SHA-256 of the pixels of ``generated`` and ``reference``, uint8 in the order (T, H, W, RGB)."""
    scores: dict[str, float]
    notes: dict[str, str]
    """Of every score that is missing, the reason."""
    score_versions: dict[str, int]
    judges: dict[str, str]
    vbench_compat: bool
    pooled: list[str]
    """Scores whose means over cases weigh every frame after a video's first alike."""
    seconds: dict[str, float]
    """Per stage, and their sum as ``total``; beside them ``reference_kept`` (:mod:`fastvmt.cost.account`)."""
    passes: PassCounter
    declared_passes: PassCounter
    """What the method says a transfer costs, the reading of the reference aside."""
    cost: Cost
    reference_cache: dict[str, int]
    """Hits and misses of the session so far."""
    peak_memory_gib: dict[str, float]
    """Of the ``process`` since it started, and of the case's tensors on the ``device``."""
    device: str
    """What the model ran on; like the threads in ``cost`` it moves last bits only, and no identity depends on it."""
    maker: dict[str, str]
    """What generated it: commit (``+`` where the checkout had changes), hardware, versions, number format."""
    files: dict[str, str]
    """SHA-256 of the case's other files, by name."""
    checksum: str = field(default="", compare=False)
    """SHA-256 of everything else in the record; set by :meth:`to_json`."""
    diverged: Divergence | None = None
    """Why there is no video, no score, and no place in any mean: the numbers left their range."""

    @property
    def identity(self) -> Identity:
        """What the record stands for."""
        return Identity(self.config, self.algorithm, self.weights, self.case, self.score_versions, self.judges)

    def to_json(self) -> dict[str, Any]:
        """Give plain values, with their checksum."""
        content = asdict(self)
        return content | {"checksum": checksum(content)}

    @classmethod
    def from_json(cls, content: Any) -> CaseRecord:
        """Read what :meth:`to_json` gave. Raises ``ValueError`` for anything else, naming what is wrong."""
        record: CaseRecord = decoded(cls, content)
        if record.checksum != checksum(content):
            raise ValueError(f"the record of {record.id} is not what was written: its checksum differs")
        return record


def checksum(content: Mapping[str, Any]) -> str:
    """Hash the values of a record with SHA-256, its checksum left out."""
    values = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(finite(values), sort_keys=True).encode()).hexdigest()


def case_key(case: TransferCase) -> str:
    """Hash what a case asks for: a manifest or a clip may change between runs under the same path."""
    truth = {} if case.truth is None else {f"truth {name}": value for name, value in vars(case.truth).items()}
    return content_key(
        **truth,
        category=case.category,
        prompt=case.prompt,
        negative=case.negative_prompt,
        caption=case.reference_prompt,
        seed=case.seed,
        frames=case.reference.frames_THWC,
        size=case.reference.size,
        fps=case.reference.fps,
        foreground=case.foreground_THW,
    )
