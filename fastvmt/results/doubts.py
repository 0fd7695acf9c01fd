"""Scores that should not be read as they stand: each doubt with its sign in tables and its footnote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RESTING = 0.9
"""Share of resting steps from which a video counts as still. It is below 1: a tracker's noise moves some points of a
frozen clip of 96 pixels, of whose steps 0.95 rest (``score.motion_fidelity.JITTER``)."""
Values = Mapping[str, float]
"""Scores of one video by column."""


@dataclass(frozen=True)
class Doubt:
    """Why columns of a video are not to be read."""

    sign: str
    why: str
    columns: tuple[str, ...]
    read: str
    """The column that tells."""
    least: float
    """Its value from which the doubt holds."""

    def holds(self, scores: Values) -> bool:
        """Tell whether a video's scores raise it; what is missing raises none."""
        return scores.get(self.read, 0.0) >= self.least


DOUBTS = (
    Doubt(
        "*",
        "coverage below a fifth",
        ("motion_fidelity", "motion_fidelity_dynamic"),
        "low_coverage",
        1.0,
    ),
    Doubt(
        "+",
        "the reference rests (motion_fidelity_dynamic leaves its resting points out)",
        ("motion_fidelity",),
        "static_fraction_reference",
        RESTING,
    ),
    Doubt(
        "=",
        "the video rests, which is consistent",
        ("temporal_consistency", "background_consistency", "subject_consistency", "motion_smoothness_flow"),
        "static_fraction",
        RESTING,
    ),
)


def doubted(scores: Values, column: str) -> list[Doubt]:
    """List the doubts about a column of one video."""
    present = column in scores and scores[column] == scores[column]
    return [doubt for doubt in DOUBTS if present and column in doubt.columns and doubt.holds(scores)]


def signs(videos: Sequence[Values], column: str) -> str:
    """Give the signs of the doubts about a column of any of some videos."""
    found = {doubt.sign for scores in videos for doubt in doubted(scores, column)}
    return "".join(doubt.sign for doubt in DOUBTS if doubt.sign in found)


def doubt_notes(rows: Mapping[str, Sequence[Values]], columns: Sequence[str]) -> list[str]:
    """Write a footnote per doubt about some of ``columns``, with the number of cases, and by row if there are several.

    ``rows`` are the videos of every row of a table.
    """
    notes = []
    for doubt in DOUBTS:
        shown = [name for name in columns if name in doubt.columns]
        counts = {row: sum(any(doubt in doubted(v, name) for name in shown) for v in rows[row]) for row in rows}
        if not any(counts.values()):
            continue
        total = sum(len(videos) for videos in rows.values())
        note = (
            f"marked {doubt.sign}, not to be read as it stands: {doubt.why} in {sum(counts.values())} of {total} cases"
        )
        if len(rows) > 1:
            note += f" ({'; '.join(f'{row}: {count}' for row, count in counts.items() if count)})"
        notes.append(note)
    return notes
