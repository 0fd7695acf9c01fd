"""Tables and figures from the lines of a comparison; whatever has no line is n/a."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from PIL import Image

from experiments.json_lines import Line, measured
from experiments.markdown import counted, hundredths, ratio, table, two_digits, whole
from experiments.tools.readme_pictures import Frames, strip
from fastvmt.files import write_json
from fastvmt.results.columns import score_column, seconds_column
from fastvmt.results.statistics import Comparison, Speedup, compare, over_methods, speedup, summarise
from fastvmt.world.motion import CATEGORIES

BASE = "fastvmt"
CONTROLS = ("none", "sdedit")
SCORES = ("trajectory_cosine", "motion_fidelity", "motion_fidelity_dynamic", "text_similarity", "temporal_consistency")
BESIDE = (
    "coverage",
    "coverage_reference",
    "low_coverage",
    "static_fraction",
    "static_fraction_reference",
    "speed",
    "speed_reference",
)
"""What motion fidelity is to be read with."""
BY_CATEGORY = ("trajectory_cosine", "text_similarity")
STAGES = ("encode", "reference", "guide", "denoise", "decode", "loop", "total")
PASSES = ("gradients", "block_forwards", "block_backwards")
Content = dict[str, dict[str, Any]]
"""Method -> what is known about it at one start."""

NOTES = f"""\
In parentheses n, the cases (reference x prompt, seeds averaged) behind a mean; in square brackets the paired
difference to `{BASE}` over the cases that both have (their n where it differs) and its 95 % interval over references,
bold where it excludes 0; n/a below six references. The intervals are not corrected for their number: of twenty, one
excludes 0 by chance. `none` and `sdedit` are the controls; `none` starts from pure noise in every table.

Seconds and passes are those of one transfer, which reads its reference anew; tuning comes on top, once per
reference for all starts and seeds, in columns of its own. Loop is reference + guide + denoise; its ratio is to the
loop of plain sampling on the same reference, timed in the same process just before (ratio of means, then geometric
mean of the cases' ratios); `loop / {BASE}` divides these ratios. CPU seconds are
the process' own over a whole transfer, encoding and decoding included: less than wall time they depend on what else
the machine did. Memory is the peak of tensors on a GPU; on a CPU it is that of the whole process, model and scorers
included, which hardly tells methods apart.

`motion fidelity` follows points of both videos with the tracker. Its `true` forms take the reference's true tracks
instead, on a grid over every object and the background: more of their points move, and the values are not comparable
with the others. Motion fidelity is to be read with its coverage, the share of tracks that had a comparable partner
(the generated video's; `reference` the other's), with the static fraction of steps and with the speed in diagonals per
frame. `low coverage` is the share of cases where less than a fifth of either video's tracks could be compared.
"""


def at_start(lines: Sequence[Line], methods: Sequence[str], start: float) -> dict[str, list[Line]]:
    """The lines that belong to a start by method, of those that have any; plain sampling belongs to all starts."""
    rows = {m: [r for r in lines if r["method"] == m and (m == "none" or r["start"] == start)] for m in methods}
    return {method: mine for method, mine in rows.items() if mine}


def shown_scores(lines: Sequence[Line]) -> list[str]:
    """The scores of the tables: the usual ones, and further forms of motion fidelity where a line has them."""
    names = dict.fromkeys(name for line in lines for name, value in line["scores"].items() if value is not None)
    return [*SCORES, *(name for name in names if name.startswith("motion_fidelity") and name not in SCORES)]


def mean_passes(lines: Sequence[Line]) -> dict[str, float]:
    """Mean counts of passes; NaN without lines."""
    return {kind: float(np.mean([r["passes"][kind] for r in lines])) if lines else math.nan for kind in PASSES}


def tunings(lines: Sequence[Line]) -> list[Line]:
    """The transfers that began with a whole tuning, of any start and seed.

    One that went on from a checkpoint took longer than its line says: it does not count.
    """
    tuned = [line for line in lines if "error" not in line and line["seconds"].get("tune")]
    return [line for line in tuned if line["passes"]["gradients"] >= line["declared_gradients"]]


def costs_of(lines: Sequence[Line], tuned: Sequence[Line]) -> dict[str, Any]:
    """Seconds, passes and memory of the transfers that came to their end, and of the ``tuned`` ones' tuning."""
    ran = [line for line in lines if "error" not in line]
    sampled = [line for line in ran if not line["seconds"].get("tune")]
    columns = {stage: seconds_column(measured(ran), stage) for stage in STAGES}
    once = [
        seconds_column(measured(ran), stage) for stage in ("tune", "adapter")
    ]  # of the reference, and waiting for others
    columns["total"] = {name: total - sum(c[name] for c in once) for name, total in columns["total"].items()}
    passes = mean_passes(sampled)
    plain = {line["id"]: line["plain_seconds"] for line in ran}
    peaks = {line["id"]: line["peak_gib"]["allocated"] or line["peak_gib"]["resident"] or math.nan for line in ran}
    return {
        "seconds": {stage: asdict(summarise(column)) for stage, column in columns.items()},
        "loop_to_none": asdict(speedup(plain, columns["loop"])),
        "passes": passes,
        "tuning_seconds": asdict(summarise(seconds_column(measured(tuned), "tune"))),
        "tuning_gradients": mean_passes(tuned)["gradients"] - passes["gradients"],
        "peak_gib": asdict(summarise(peaks)),
        "failed": len(lines) - len(ran),
    }


def summary(rows: Mapping[str, list[Line]], everything: Sequence[Line]) -> Content:
    """Means, differences to the base method, and costs of every method at one start.

    ``everything`` holds the lines of all starts: a reference is tuned in one of them.
    """
    base = rows.get(BASE, [])
    scores = shown_scores([line for lines in rows.values() for line in lines])
    content: Content = {}
    for name, lines in rows.items():
        scored, theirs = measured(lines), measured(base)
        columns = {score: score_column(scored, score) for score in scores}
        content[name] = {
            "cpu_seconds": asdict(summarise(cpu_column(lines))),
            "cpu_to_none": asdict(speedup(cpu_column(rows.get("none", [])), cpu_column(lines))),
            "scores": {score: asdict(summarise(column)) for score, column in columns.items()},
            f"minus_{BASE}": {s: asdict(compare(column, score_column(theirs, s))) for s, column in columns.items()},
            "beside": {column: asdict(summarise(score_column(scored, column))) for column in BESIDE},
            "by_category": {
                score: {
                    c: asdict(summarise(score_column(measured([r for r in lines if r["category"] == c]), score)))
                    for c in CATEGORIES
                }
                for score in BY_CATEGORY
            },
            **costs_of(lines, tunings([line for line in everything if line["method"] == name])),
            f"loop_to_{BASE}": asdict(speedup(loop_column(base), loop_column(lines))),
        }
    return content


def cpu_column(lines: Sequence[Line]) -> dict[str, float]:
    """CPU seconds of the whole transfers, by case; older lines have none."""
    return {line["id"]: line["cpu_seconds"] for line in lines if "cpu_seconds" in line}


def loop_column(lines: Sequence[Line]) -> dict[str, float]:
    """The loop of the transfers that came to their end as a multiple of plain sampling's, by case.

    Plain sampling is timed beside every line, so that lines of different hours can be compared.
    """
    ran = [line for line in lines if "error" not in line]
    loops = seconds_column(measured(ran), "loop")
    return {line["id"]: loops[line["id"]] / line["plain_seconds"] for line in ran}


def overall(content: Content, baselines: Sequence[str]) -> str:
    """How much faster the base method is than the baselines, in words."""
    others = {name: content[name] for name in baselines if name in content}
    faster = {name: Speedup(**row[f"loop_to_{BASE}"]) for name, row in others.items()}
    mean, greatest = over_methods(faster)
    if math.isnan(mean):
        return f"Speed-up of `{BASE}` over the baselines: n/a until they have run."
    return (
        f"Speed-up of `{BASE}` over {len(faster)} baselines (loops in multiples of plain sampling's, without tuning): "
        f"{mean:.2f} on average, {greatest:.2f} at most."
    )


def score_cell(row: Mapping[str, Any], score: str, name: str) -> str:
    """Mean, n, and the difference to the base method with its interval."""
    cell, gap = counted(row["scores"][score]), row[f"minus_{BASE}"][score]
    if name == BASE or not gap["n"]:
        return cell
    pairs = f"; {gap['n']}" if gap["n"] != row["scores"][score]["n"] else ""
    span = "n/a" if math.isnan(gap["low"]) else f"{gap['low']:+.3f}..{gap['high']:+.3f}"
    text = f"[{gap['mean']:+.3f}: {span}{pairs}]"
    return f"{cell} **{text}**" if Comparison(**gap).significant else f"{cell} {text}"


def cost_cells(row: Mapping[str, Any]) -> list[str]:
    """Tuning, stages, ratio, memory, passes."""
    seconds = [counted(row["seconds"][stage]) for stage in STAGES]
    passes = [whole(row["passes"][kind]) for kind in PASSES]
    tuning = [counted(row["tuning_seconds"]), whole(row["tuning_gradients"])]
    ratios = [ratio(row["loop_to_none"]), ratio(row[f"loop_to_{BASE}"])]
    peak = counted(row["peak_gib"])
    ratios += [counted(row["cpu_seconds"]), ratio(row["cpu_to_none"])]
    tuning = tuning if row["tuning_seconds"]["n"] else ["-", "-"]
    return [*seconds, *ratios, *tuning, peak, *passes, str(row["failed"])]


def brief(content: Content, scores: Sequence[str] = SCORES) -> list[str]:
    """A table of one start for readers in a hurry, best motion fidelity first; bold differs from the base method.

    The README shows it.
    """
    means = {name: row["scores"][SCORES[1]]["mean"] for name, row in content.items()}
    cells = []
    for name in sorted(means, key=lambda name: -math.inf if math.isnan(means[name]) else means[name], reverse=True):
        row = content[name]
        gaps = {score: row[f"minus_{BASE}"][score] for score in scores}
        sure = {score for score, gap in gaps.items() if Comparison(**gap).significant}
        shown = {score: hundredths(row["scores"][score]) for score in scores}
        numbers = [f"**{text}**" if score in sure and name != BASE else text for score, text in shown.items()]
        costs = [two_digits(row["loop_to_none"]["average"]), whole(row["passes"]["gradients"])]
        tuned = bool(row["tuning_seconds"]["n"])
        tuning = [whole(row["tuning_seconds"]["mean"]), whole(row["tuning_gradients"])] if tuned else ["-", "-"]
        cells.append([f"`{name}`", *numbers, *costs, *tuning])
    return table(["method", *scores, "loop / none", "gradients", "tuning s", "tuning gradients"], cells)


def markdown(starts: Mapping[float, Content], methods: Sequence[str], facts: str) -> str:
    """Tables per start: in brief, scores, what motion fidelity is to be read with, costs, by category."""
    lines = [facts, "", *NOTES.splitlines()]
    for start, content in starts.items():
        scores = list(next(iter(content.values()))["scores"])
        lines += ["", f"## {'Pure noise' if start == 1 else f'Strength {start:g}'}", ""]
        lines += [*brief(content), ""]
        expected = [name for name in methods if start < 1 or name != "sdedit"]
        if absent := [f"`{name}`" for name in expected if name not in content]:
            lines += [f"Not run yet: {', '.join(absent)}.", ""]
        lines += table(["method", *scores], [[m, *(score_cell(r, s, m) for s in scores)] for m, r in content.items()])
        lines += ["", "Motion fidelity, to be read with:", ""]
        shown = [[m, *(counted(r["beside"][c]) for c in BESIDE)] for m, r in content.items()]
        lines += table(["method", *BESIDE], shown)
        head = ["method", *(f"{stage} s" for stage in STAGES), "loop / none", f"loop / {BASE}"]
        head += ["CPU s", "CPU / none", "tuning s", "tuning gradients", "peak GiB", *PASSES, "failed"]
        baselines = [name for name in methods if name not in (BASE, *CONTROLS)]
        lines += ["", *table(head, [[name, *cost_cells(row)] for name, row in content.items()])]
        lines += ["", overall(content, baselines)]
        for score in BY_CATEGORY:
            lines += ["", f"{score.replace('_', ' ').capitalize()} by category:", ""]
            rows = [[m, *(counted(r["by_category"][score][c]) for c in CATEGORIES)] for m, r in content.items()]
            lines += table(["method", *CATEGORIES], rows)
    return "\n".join(lines) + "\n"


def figure(starts: Mapping[float, Content], methods: Sequence[str], path: Path) -> None:
    """Motion fidelity against seconds of the loop; hollow with the tuning, as if one transfer had to pay it."""
    picture = Figure(figsize=(4.5 * len(starts) + 1.6, 4), layout="constrained")
    axes = picture.subplots(1, len(starts), sharey=True, squeeze=False)[0]
    handles: dict[str, Artist] = {}
    for axis, (start, content) in zip(axes, starts.items(), strict=True):
        for name, row in content.items():
            x, y = row["seconds"]["loop"]["mean"], row["scores"]["motion_fidelity"]["mean"]
            if math.isnan(x) or math.isnan(y):
                continue
            colour = colormaps["tab20"](methods.index(name))
            tuned = row["tuning_seconds"]["mean"]
            (handles[name],) = axis.plot(x, y, "o", color=colour, label=name)
            if not math.isnan(tuned):
                axis.plot([x, x + tuned], [y, y], ":o", color=colour, markevery=[1], markerfacecolor="white")
        axis.set(xscale="log", xlabel="seconds of the denoising loop\n(hollow: with tuning)")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
        axis.set_title("pure noise" if start == 1 else f"strength {start:g}")
    axes[0].set_ylabel("motion fidelity")
    shown = [handles[name] for name in methods if name in handles]
    if shown:
        picture.legend(handles=shown, loc="outside right center", fontsize=8)
    picture.savefig(path, dpi=110)


def unpacked(text: str) -> Frames:
    """Frames (T, S, S, 3) of a row of square frames, JPEG in base64."""
    row = np.asarray(Image.open(BytesIO(base64.b64decode(text))))
    return np.stack(np.split(row, row.shape[1] // row.shape[0], 1))


def frame_strip(rows: Mapping[str, list[Line]], reference: Frames, path: Path) -> None:
    """Some frames of the reference and of every method for the case whose lines hold frames."""
    found = {name: [line["frames"] for line in lines if "frames" in line] for name, lines in rows.items()}
    videos = [(name.replace("_", "\n"), unpacked(texts[-1])) for name, texts in found.items() if texts]
    if not videos:
        return
    count, side = videos[0][1].shape[:2]
    moments = np.linspace(0, len(reference) - 1, count).round().astype(int)
    first = np.stack([cv2.resize(reference[t], (side, side), interpolation=cv2.INTER_AREA) for t in moments])
    image = strip([("reference", first), *videos], range(count))
    Image.fromarray(image).quantize(128).save(path, optimize=True)


def write_report(
    results: Path,
    lines: Sequence[Line],
    methods: Sequence[str],
    variants: Sequence[str],
    reference: Frames,
    command: str,
) -> None:
    """``comparison.{md,json}``, ``comparison_seconds.png`` and a strip of frames per start.

    ``variants`` are rows of the tables that nobody misses where they have no line.
    """
    results.mkdir(parents=True, exist_ok=True)
    found = sorted({line["start"] for line in lines} | {1.0}, reverse=True)
    rows = {start: at_start(lines, [*methods, *variants], start) for start in found}
    rows = {start: mine for start, mine in rows.items() if mine}
    starts = {start: summary(mine, lines) for start, mine in rows.items()}
    known = {key: sorted({str(line[key]) for line in lines}) for key in ("weights", "device", "threads", "commit")}
    facts = f"{len(lines)} transfers by tiny-wan, " + ", ".join(f"{k} {' '.join(v) or 'n/a'}" for k, v in known.items())
    (results / "comparison.md").write_text(markdown(starts, methods, f"`{command}`\n\n{facts}."))
    write_json(results / "comparison.json", {"command": command, "lines": len(lines), **known, "starts": starts})
    if starts:
        figure(starts, [*methods, *variants], results / "comparison_seconds.png")
    for start, mine in rows.items():
        frame_strip(mine, reference, results / f"comparison_strip_{start:g}.png")
