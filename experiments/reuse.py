"""How far gradients change between the computed ones: their cosines, by row of a study.

``python run.py experiment=tune_reuse output_dir=OUT`` makes the rows, every interval of reuse with every rate;
``python -m experiments.reuse OUT`` prints the cosines of consecutive computed gradients that their cases' ``trace.csv``
hold, ``--output reuse.md`` writes them.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from experiments import command_line
from experiments.markdown import table, two_digits
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import RunFolder
from fastvmt.studies.rows import Row, labels, read_rows

Cosines = dict[str, list[float]]


def cosines(trace: Iterable[Mapping[str, float]]) -> Cosines:
    """Cosines of consecutive computed gradients, ``within`` a denoising step and ``across`` to the next."""
    real = [row for row in trace if row["step"] >= 0 and not row["reused"]]  # before the first step a method is tuned
    found: Cosines = {"within": [], "across": []}
    for before, row in pairwise(real):
        found["within" if row["step"] == before["step"] else "across"].append(row["cosine"])
    return found


def trace_of(folder: Path, record: CaseRecord) -> list[dict[str, float]]:
    """Read a case's trace. Raises ``ValueError`` where it has fewer gradients than the case has taken."""
    case = RunFolder(folder).case(record.id)
    trace = case.read_trace() if case.trace.is_file() else []
    tuned = any(row.get("step", 0) < 0 for row in trace)
    computed = sum(row.get("reused") == 0 for row in trace)
    if not tuned and computed < record.passes.gradients:
        raise ValueError(f"{case.trace} has {computed} computed gradients, the case took {record.passes.gradients}")
    return trace


def row_cosines(row: Row) -> Cosines:
    """All cosines of a row's cases that were guided."""
    found = [cosines(trace_of(row.folder, record)) for record in row.records if record.diverged is None]
    return {kind: [value for each in found for value in each[kind]] for kind in ("within", "across")}


def mean(values: Sequence[float]) -> float:
    """NaN without any."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def page(rows: Sequence[Row]) -> list[str]:
    """The table of all rows."""
    head = ["row", "cosine within a step", "cosine from one step to the next", "cosines"]
    cells = []
    for name, row in zip(labels(rows), rows, strict=True):
        found = row_cosines(row)
        count = sum(math.isfinite(value) for values in found.values() for value in values)
        cells.append([name, *(two_digits(mean(found[kind])) for kind in ("within", "across")), str(count)])
    return [
        "Cosines of consecutive computed gradients, means over all pairs of a row.",
        "",
        *table(head, cells),
    ]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="output_dir of experiment=tune_reuse, or of any sweep")
    parser.add_argument("--output", type=Path, help="a Markdown file, instead of the terminal")
    arguments = parser.parse_args(words)
    text = "\n".join(page(read_rows([arguments.study]))) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text)


if __name__ == "__main__":
    command_line.run(main)
