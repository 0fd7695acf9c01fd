"""Search of every method's settings for tiny-wan on a tuning split that no reported case shares.

``python -m experiments.tune`` runs plain sampling and six candidates of each method, and up to eight more of a
baseline whose best of these lay at the end of a range, on 4 references with 2 prompts each, appends a line per
candidate to ``experiments/results/tuning.jsonl`` and after each of them writes ``tuning.md`` (all candidates,
winners, what was searched) and ``tuning_winners.json`` beside it. It goes on where it was stopped: candidates with a
line of the same weights and settings, and finished cases of others, are not run again.

Processes may share the work, also of one method: none runs what another has begun, plain sampling included.

    OMP_NUM_THREADS=1 python -m experiments.tune &
    OMP_NUM_THREADS=1 python -m experiments.tune

The winner has the greatest sum of trajectory cosine and motion fidelity, n/a counting as 0, among the candidates
whose text similarity is at most 0.03 below that of plain sampling; where none keeps so close to the prompt, the
candidate with the highest text similarity wins. Lines of other weights stay in the log as history.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from experiments.json_lines import Line, append_line, locked, read_lines
from experiments.rows import DIGITS, RESULTS, composed, settings_hash
from experiments.tune_report import Candidates, differing, told, write_report
from fastvmt.cost.cost import loop_seconds
from fastvmt.engine.session import Session, open_session
from fastvmt.errors import UserError
from fastvmt.results.case_record import VERSION, CaseRecord
from fastvmt.results.columns import mean_scores, score_column
from fastvmt.results.statistics import reference_of

REFERENCES, PROMPTS = 4, 2
COMMON = ["benchmark=world", "benchmark.seed=100", f"benchmark.prompts={PROMPTS}", "seed=50000", "metrics=fast"]
"""Of every candidate: scenes and start noises of their own, the scores that choose."""
BASE = ["method=none"]
COUNTED = ("trajectory_cosine", "motion_fidelity")
"""Scores whose sum a winner has most of."""


def grid(method: str, group: str = "method", end: float | None = None, **values: Sequence[object]) -> list[list[str]]:
    """Every combination of values; in names a double underscore stands for a dot.

    With ``end`` the learning rate falls to ``end`` times itself.
    """
    found = []
    for chosen in product(*values.values()):
        named = dict(zip(values, chosen, strict=True))
        if end is not None:
            named["lr_end"] = f"{end * float(str(named['lr'])):g}"
        found.append([f"method={method}", *(f"{group}.{k.replace('__', '.')}={v}" for k, v in named.items())])
    return found


FEW = (0.02, 0.05, 0.1)
"""Learning rates for three inner iterations of Adam: at most 0.06, 0.15, 0.3 a guided step."""
FIRST: Candidates = {
    "fastvmt": [  # 10 and 12 gradients; both move latents by 0.06, 0.09, 0.15 a guided step at most
        *grid("fastvmt", "guidance", 1.0, fraction=[0.5], iterations=[3], lr=(0.02, 0.03, 0.05)),
        *grid("fastvmt", "guidance", 1.0, fraction=[0.3], iterations=[6], lr=(0.01, 0.015, 0.025)),
    ],
    "ditflow": grid("ditflow", end=0.5, fraction=[0.3], iterations=[3], temperature=(2.0, 4.0), lr=FEW),
    "moft": grid("moft", end=0.5, fraction=[0.3], iterations=[3], share=(0.04, 0.2), lr=FEW),
    "smm": grid("smm", end=0.5, fraction=[0.3], iterations=[3], ref=("matched", "clean"), lr=FEW),
    "flowmotion": grid(  # the differences weigh less than the latents, as in the paper, or more
        "flowmotion", end=1.0, fraction=[0.15], iterations=[3], difference_weight=(5.0, 50.0), lr=FEW
    ),
    "motionclone": grid("motionclone", fraction=[0.3], weight=(30.0, 60.0, 100.0, 200.0, 400.0, 1000.0)),
    "motion_inversion": grid("motion_inversion", tuning__lr=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05)),
    "motion_director": grid("motion_director", tuning__lr=(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)),
    "det": [  # the learning rate follows the first convolution's scale
        *grid("det", initial=["normal"], tuning__lr=(1e-5, 3e-5, 1e-4)),
        *grid("det", initial=["kaiming"], tuning__lr=(3e-4, 1e-3, 3e-3)),
    ],
}
"""As many for every method, within its limit of the loop's time. They search numbers that follow the scale of latents
or features: step sizes, temperatures, weights, shares of the channels, and the reference's noise level (SMM)."""
BEYOND: Candidates = {
    "ditflow": [
        *grid("ditflow", end=0.5, fraction=[0.3], iterations=[3], temperature=[4.0], lr=[0.01]),
        *grid("ditflow", end=0.5, fraction=[0.3], iterations=[3], temperature=[8.0], lr=(0.01, 0.02, 0.05)),
    ],
    "moft": grid("moft", end=0.5, fraction=[0.3], iterations=[3], share=(0.04, 0.2), lr=(0.005, 0.01)),
    "smm": grid("smm", end=0.5, fraction=[0.3], iterations=[3], ref=("matched", "clean"), lr=(0.01, 0.03)),
    "flowmotion": [
        *grid(
            "flowmotion", end=1.0, fraction=[0.15], iterations=[3], difference_weight=(50.0, 500.0), lr=(0.005, 0.01)
        ),
        *grid("flowmotion", end=1.0, fraction=[0.15], iterations=[3], difference_weight=[500.0], lr=[0.0025]),
    ],
    "motionclone": grid(
        "motionclone", fraction=[0.3], weight=(2000.0, 3000.0, 5000.0, 10000.0, 20000.0, 50000.0, 1e5, 2e5)
    ),
}
"""Run after the first, where a baseline's best lay at the end of a range or, as with MotionClone, no value of the range
changed much."""
CANDIDATES: Candidates = {method: [*listed, *BEYOND.get(method, [])] for method, listed in FIRST.items()}


def method_of(overrides: Sequence[str]) -> str:
    """The method that overrides choose."""
    return next((text.removeprefix("method=") for text in overrides if text.startswith("method=")), "fastvmt")


def complete(candidate: Sequence[str], references: int) -> tuple[str, ...]:
    """All overrides of a candidate's run."""
    return *COMMON, f"benchmark.cases={references * PROMPTS}", *candidate


@cache
def settings_of(overrides: tuple[str, ...]) -> str:
    """Hash of all that a run's scores depend on, cases included."""
    return settings_hash(composed(overrides), but=())


def sift(
    lines: Iterable[Line], candidates: Sequence[Sequence[str]], weights: str, references: int
) -> tuple[list[Line], Counter[str]]:
    """The lines that candidates would repeat today, in their order, and how many others there are by method."""
    kept: dict[str, Line | None] = {settings_of(complete(candidate, references)): None for candidate in candidates}
    others = Counter[str]()
    for line in lines:
        if line["weights"] == weights and line.get("settings") in kept:
            kept[line["settings"]] = line
        else:
            others[method_of(line["overrides"])] += 1
    return [line for line in kept.values() if line is not None], others


def means(records: Sequence[CaseRecord]) -> Line:
    """Mean scores over the cases that have them, and ``counted``: the means with n/a as 0.

    Mean seconds of the loop, and of the tuning, which the first case of a reference begins with.
    """
    references = len({reference_of(record.id) for record in records})
    scores = mean_scores(records)
    columns = {name: list(score_column(records, name).values()) for name in COUNTED}
    return {
        **{name: round(score["mean"], 4) for name, score in scores.items()},
        "trajectories": int(np.isfinite(columns[COUNTED[0]]).sum()),
        "counted": {name: round(float(np.nan_to_num(column).mean()), 4) for name, column in columns.items()},
        "loop": round(float(np.mean([loop_seconds(record.seconds) for record in records])), 2),
        "tune": round(sum(record.seconds.get("tune", 0.0) for record in records) / references, 2),
    }


class Search:
    """The loaded model, and what runs on it."""

    def __init__(self, log: Path, folder: Path, references: int, own: Sequence[str] = ()) -> None:
        self.log = log
        self.folder = folder
        self.references = references
        self.listed = not own
        self.session = open_session(self.config(own or BASE))
        self.weights: str = self.session.backbone.fingerprint[:DIGITS]

    def config(self, candidate: Sequence[str]) -> DictConfig:
        """A candidate's configuration, with the folder where readings of references are kept."""
        return composed([*complete(candidate, self.references), f"cache_dir={self.folder / 'cache'}"])

    def records(self, session: Session, settings: str) -> list[CaseRecord]:
        """One per case; those of a run that was stopped are read from a file."""
        file = self.folder / f"{self.weights}-{settings}.jsonl"
        rows = [row for row in read_lines(file) if row.get("version") == VERSION]
        done = {row["id"]: CaseRecord.from_json(row) for row in rows}
        for case in session.plan.cases:
            if case.id not in done:
                done[case.id] = session.transfer_case(case).record
                append_line(file, done[case.id].to_json())
        return list(done.values())

    def line(self, candidate: list[str]) -> Line:
        """The line of a candidate: its means, or the error that ended it."""
        settings = settings_of(complete(candidate, self.references))
        session = self.session.under(self.config(candidate))
        line: Line = {
            "method": method_of(candidate),
            "overrides": candidate,
            "weights": self.weights,
            "settings": settings,
            "cases": len(session.plan.cases),
        }
        try:
            return line | means(self.records(session, settings))
        except FloatingPointError as error:  # a result too: it will not come out otherwise next time
            return line | {"error": str(error)}

    def run(self, todo: Sequence[list[str]], console: Console) -> None:
        """Run what neither has a line nor is being run by another process."""
        begin = time.perf_counter()
        for number, candidate in enumerate(todo, 1):
            settings = settings_of(complete(candidate, self.references))
            with locked(self.folder / f"{self.weights}-{settings}.lock", wait=False) as mine:
                # read again: another process may have finished it meanwhile
                if not mine or sift(read_lines(self.log), [candidate], self.weights, self.references)[0]:
                    continue
                line = self.line(candidate)
                append_line(self.log, line)
            left = (time.perf_counter() - begin) / number * (len(todo) - number) / 60
            text = f"[{number}/{len(todo)}] {told(line)}; about {left:.0f} min left"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
            self.report()

    def report(self) -> dict[str, list[str]]:
        """Write the tables of all lines so far, unless a candidate of one's own ran, on whatever model.

        Returns the winners' overrides by method.
        """
        if not self.listed:
            return {}
        candidates = [BASE, *(each for listed in CANDIDATES.values() for each in listed)]
        with locked(self.folder / "report.lock"):
            rows, others = sift(read_lines(self.log), candidates, self.weights, self.references)
            return write_report(self.log, self.weights, rows, CANDIDATES, others)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=CANDIDATES,
        default=list(CANDIDATES),
        metavar="METHOD",
        help=f"of {', '.join(CANDIDATES)}; default: all, in this order",
    )
    parser.add_argument(
        "--references",
        type=int,
        default=REFERENCES,
        help=f"each with {PROMPTS} prompts; default {REFERENCES}, one per kind of motion",
    )
    parser.add_argument("--report", action="store_true", help="run nothing, write tuning.md and tuning_winners.json")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("outputs/tuning"),
        help="of finished cases and tuned parameters, the same for processes that share the work; default %(default)s",
    )
    parser.add_argument("--log", type=Path, default=RESULTS / "tuning.jsonl", help="the reports go beside it")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="override",
        help="one candidate of your own instead of the listed ones, e.g. window.l=7 skip.delta=1: it gets a line "
        "and cannot win, but is counted as one more trial of its method",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = options()
    console = Console()
    arguments = parser.parse_intermixed_args(argv)
    own = arguments.overrides
    listed = [candidate for method in arguments.methods for candidate in CANDIDATES[method]]
    try:
        search = Search(arguments.log, arguments.folder, arguments.references, own)
        candidates = [own] if own else [BASE, *listed]
        done = [r["settings"] for r in sift(read_lines(search.log), candidates, search.weights, search.references)[0]]
        todo = [c for c in candidates if settings_of(complete(c, search.references)) not in done]
        if todo and not arguments.report:
            search.run(todo, console)
    except UserError as error:
        parser.error(str(error))
    for method, overrides in search.report().items():
        if changes := differing(overrides):
            console.print(f"conf lacks the winner of {method}: {'; '.join(changes)}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
