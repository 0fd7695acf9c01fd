"""What one case id stands for in several rows: cases of other prompts, references, sizes or judges are told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastvmt.results.case_record import CaseRecord

Records = Sequence[CaseRecord]


def same_prompt(one: CaseRecord, other: CaseRecord) -> bool:
    """Tell whether two records are of one prompt."""
    return one.prompt == other.prompt


def same_size(one: CaseRecord, other: CaseRecord) -> bool:
    """Tell whether two records are of as many frames of one size."""
    return (one.frames, one.size) == (other.frames, other.size)


def same_reference(one: CaseRecord, other: CaseRecord) -> bool:
    """Tell whether two records follow one reference, as far as its pixels tell: at another size they are others."""
    return not same_size(one, other) or reference_hash(one) == reference_hash(other)


def same_judges(one: CaseRecord, other: CaseRecord) -> bool:
    """Tell whether what computed the scores that two records share is the same."""
    shared = one.judges.keys() & other.judges.keys()
    return all(one.judges[n] == other.judges[n] for n in shared) and all(
        one.score_versions.get(n) == other.score_versions.get(n) for n in shared
    )


def reference_hash(record: CaseRecord) -> str:
    """Give the hash of the reference's pixels."""
    return record.frames_sha256.get("reference", "")


@dataclass(frozen=True)
class Likeness:
    """What records of one case id should share."""

    holds: Callable[[CaseRecord, CaseRecord], bool]
    otherwise: str
    """What is so where it does not hold."""
    then: str = ""
    """What follows of it."""


NO_PAIRS = "; these are in no difference"
LIKENESSES = (
    Likeness(same_prompt, "another prompt", NO_PAIRS),
    Likeness(same_reference, "another reference", NO_PAIRS),
    Likeness(same_size, "another number or size of frames"),
    Likeness(same_judges, "other judges or another tracker"),
)
"""Cases of another prompt or reference are no pairs. Sizes and judges may be what a study compares."""


def unlike_cases(*rows: Records) -> frozenset[str]:
    """Collect the ids under which rows have other prompts or references, which are no pairs."""
    first: dict[str, CaseRecord] = {}
    return frozenset(
        record.id
        for records in rows
        for record in records
        if not (same_prompt(known := first.setdefault(record.id, record), record) and same_reference(known, record))
    )


def unlike_notes(rows: Mapping[str, Records], base: str) -> list[str]:
    """Write a footnote per kind of unlikeness under one case id, with the number of cases by row.

    Every record is held against that of the row ``base``, or of the first row that has the case.
    """
    ordered = {base: rows[base]} | dict(rows)
    first: dict[str, tuple[str, CaseRecord]] = {}
    for name, records in ordered.items():
        for record in records:
            first.setdefault(record.id, (name, record))
    return [note for each in LIKENESSES if (note := unlike_note(each, ordered, first))]


def unlike_note(
    likeness: Likeness, rows: Mapping[str, Records], first: Mapping[str, tuple[str, CaseRecord]]
) -> str | None:
    """Write the footnote of one kind; None where it is of no case."""
    odd = {name: [each.id for each in rows[name] if not likeness.holds(first[each.id][1], each)] for name in rows}
    if not any(odd.values()):
        return None
    others = dict.fromkeys(first[case][0] for found in odd.values() for case in found)
    counts = "; ".join(f"{name}: {len(found)}" for name, found in odd.items() if found)
    what = f"{likeness.otherwise} than in {' and '.join(others)} under the same case id"
    cases = {case for found in odd.values() for case in found}
    return f"{what} in {len(cases)} of {len(first)} cases ({counts}){likeness.then}"
