"""What came out of the search of settings: who won, in a table that tells how, and in a file that tests read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from experiments.json_lines import Line
from experiments.markdown import table
from experiments.rows import composed
from fastvmt.files import write_json
from fastvmt.results.tables import show

Candidates = Mapping[str, Sequence[list[str]]]
"""Method -> candidates, each a list of overrides that begins with the method."""
TEXT_LOSS = 0.03
"""Text similarity that a winner may lose to plain sampling."""
HEAD = (
    "",
    "candidate",
    "sum",
    "trajectory cosine",
    "n",
    "motion fidelity",
    "text similarity",
    "loop / none",
    "tuning s",
)

RULE = f"""\
**Rule.** The winner, marked *, has the greatest sum of trajectory cosine and motion fidelity among the candidates
whose text similarity is at most {TEXT_LOSS} below that of plain sampling. Both are means over all cases in which n/a
counts as 0, so that ruining the hard cases cannot win; n are the cases whose trajectory could be measured. Where no
candidate of a method keeps so close to the prompt, the one with the highest text similarity wins, marked *(text).
Steps below 0.25 pixels counted as static throughout the search; the package's floor is 0.17 since. The loop's ratio
to plain sampling's is up to twice too large, as processes shared the machine: see `comparison.md`. Tuning is timed
per reference.
"""
FAIRNESS = """\
Six candidates for every method; up to eight more of baselines whose best of the six lay at the end of a range (or
whose range changed little: MotionClone), none of FastVMT. Winners still at an end of what was tried: SMM's rate
(0.01), MOFT's share (0.2), FlowMotion's weight of differences (500). The guided fraction was varied for FastVMT only.
But FastVMT began better informed, and counting everything it had more trials than any other: its
`guidance.reference_noise`, `window.sf`, `guidance.iterations` and `guidance.lr` had been chosen from earlier lines of
the log, most of them on other weights and snapshots of trainings, in which `window.l`, `window.tau`, `skip.delta`,
`guidance.block` with `guidance.rope`, `guidance.fraction`, `sampler.shift` and `sampler.cfg_scale` were tried too.
After the search one setting at a time of FastVMT's winner was changed, to see what it is worth; these lines could not
win (`experiments/tiny_wan/README.md`). The tuned methods learn for 150 to 200 iterations where their authors take 300
to 500, to keep tuning to minutes per reference; the number was not searched.
"""


def merit(row: Line) -> float:
    """What a winner has most of; NaN for a run that an error ended."""
    return sum(row["counted"].values()) if "counted" in row else math.nan


def text_loss(row: Line, rows: Sequence[Line]) -> float:
    """By how much a candidate's text similarity is below that of plain sampling; NaN where there is none."""
    plain = next((base.get("text_similarity") for base in rows if base["method"] == "none"), None)
    return math.nan if plain is None else round(plain - row["text_similarity"], 4)


def winners(rows: Sequence[Line], candidates: Candidates) -> dict[str, Line]:
    """The best of every method all of whose candidates have run; none before plain sampling has."""
    best: dict[str, Line] = {}
    for method, listed in candidates.items():
        mine = [row for row in rows if row["method"] == method]
        able = [r for r in mine if not math.isnan(merit(r)) and not math.isnan(text_loss(r, rows))]
        if len(mine) < len(listed) or not able:
            continue
        close = [row for row in able if text_loss(row, rows) <= TEXT_LOSS]
        best[method] = max(close, key=merit) if close else min(able, key=lambda row: text_loss(row, rows))
    return best


def differing(overrides: Sequence[str]) -> list[str]:
    """The overrides, of those after the method's, that are not the yaml's values."""
    default, chosen = composed(overrides[:1]), composed(overrides)
    keys = [text.partition("=")[0] for text in overrides[1:]]
    values = {key: (OmegaConf.select(chosen, key), OmegaConf.select(default, key)) for key in keys}
    return [f"{key}={new}, not {old}" for key, (new, old) in values.items() if new != old]


def searched(listed: Sequence[Sequence[str]]) -> str:
    """The values that a method's candidates try, by key."""
    values: dict[str, list[str]] = {}
    for candidate in listed:
        for key, _, value in (text.partition("=") for text in candidate[1:]):
            values.setdefault(key, []).append(value)
    return "; ".join(f"`{key}` {', '.join(dict.fromkeys(found))}" for key, found in values.items())


def cells(row: Line, rows: Sequence[Line], best: Mapping[str, Line]) -> list[str]:
    """A line of the table."""
    mark = "" if best.get(row["method"]) is not row else "*" if text_loss(row, rows) <= TEXT_LOSS else "*(text)"
    name = f"`{' '.join(row['overrides'])}`"
    if "error" in row:
        return [mark, name, row["error"], *[""] * (len(HEAD) - 3)]
    plain = next((base.get("loop", math.nan) for base in rows if base["method"] == "none"), math.nan)
    numbers = [merit(row), row["counted"]["trajectory_cosine"], row["counted"]["motion_fidelity"]]
    total, trajectory, fidelity, text, ratio = map(show, [*numbers, row["text_similarity"], row["loop"] / plain])
    n = f"{row['trajectories']} of {row['cases']}"
    return [mark, name, total, trajectory, n, fidelity, text, ratio, show(row["tune"]) if row["tune"] else "-"]


def markdown(weights: str, rows: Sequence[Line], candidates: Candidates, others: Mapping[str, int]) -> str:
    """Rule, ranges, winners and all candidates."""
    best, every = winners(rows, candidates), {"none": [["method=none"]], **candidates}
    ran = {method: [row for row in rows if row["method"] == method] for method in every}
    told = ", ".join(f"`{method}` {count}" for method, count in sorted(others.items())) or "none"
    lines = [
        "# Search of settings for tiny-wan",
        "",
        f"Written by `python -m experiments.tune` (`--report` writes it anew) from `tuning.jsonl`, weights {weights}.",
        "Every candidate ran on the same cases, whose references and start noises no reported case shares.",
        "",
        *RULE.splitlines(),
        "",
        "**Fairness.**",
        *FAIRNESS.splitlines(),
        f"Further lines of the log, of other weights or settings, by method: {told} ({sum(others.values())} in all).",
        "",
    ]
    if open_ := [f"`{m}` {len(ran[m])} of {len(listed)}" for m, listed in every.items() if len(ran[m]) < len(listed)]:
        lines += [f"Not finished: {', '.join(open_)}.", ""]
    won = {m: f"`{' '.join(best[m]['overrides'][1:])}`" if m in best else "none yet" for m in candidates}
    lines += table(["method", "searched", "winner"], [[f"`{m}`", searched(candidates[m]), won[m]] for m in candidates])
    if poor := [f"`{m}`" for m, row in best.items() if text_loss(row, rows) > TEXT_LOSS]:
        lines += ["", f"Chosen by text similarity alone, as none kept close enough to the prompt: {', '.join(poor)}."]
    for method, mine in ran.items():
        lines += ["", f"## {method}", "", *table(HEAD, [cells(row, rows, best) for row in mine])] if mine else []
    return "\n".join(lines) + "\n"


def told(row: Line) -> str:
    """A candidate in words."""
    name = " ".join(row["overrides"]) or "defaults"
    if "error" in row:
        return f"{name}: {row['error']}"
    scores = {"sum": merit(row), **row["counted"], "text similarity": row["text_similarity"]}
    return f"{name}: " + ", ".join(f"{key.replace('_', ' ')} {show(value)}" for key, value in scores.items())


def write_report(
    log: Path, weights: str, rows: Sequence[Line], candidates: Candidates, others: Mapping[str, int]
) -> dict[str, list[str]]:
    """``<log>.md`` and ``<log>_winners.json`` beside the log; the winners' overrides by method."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.with_suffix(".md").write_text(markdown(weights, rows, candidates, others))
    won = {method: row["overrides"] for method, row in winners(rows, candidates).items()}
    write_json(log.with_name(f"{log.stem}_winners.json"), {"weights": weights, "winners": won})
    return won
