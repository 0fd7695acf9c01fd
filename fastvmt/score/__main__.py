"""Score generated clips against their references: ``python -m fastvmt.score generated.mp4 reference.mp4``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from fastvmt.benchmarks import ManifestBenchmark
from fastvmt.data.alignment import Alignment
from fastvmt.data.triples import LISTS, Triple, listed, matched, read_prompts
from fastvmt.engine import scoring
from fastvmt.engine.plan import construct
from fastvmt.errors import UserError
from fastvmt.files import write_json
from fastvmt.results.columns import mean_scores
from fastvmt.results.provenance import provenance

EXAMPLES = """
examples:
  python -m fastvmt.score generated.mp4 reference.mp4 --prompt "a dog on grass" --clip ViT-B-32.pt
  python -m fastvmt.score generated/ references/ --prompts prompts.csv --output scores.json
  python -m fastvmt.score generated/ --manifest bench.jsonl
  python -m fastvmt.score triples.jsonl --frames 24 --on-error skip
  python -m fastvmt.score a.mp4 b.mp4 --set "metrics.also=[motion_fidelity_compat_smm,motion_fidelity_hybrid]"

A clip is a video file or a folder of pictures. Two folders are matched by file name without suffix. A list (.csv
with a header, or .jsonl) has the columns generated, reference, prompt and, optionally, id; its paths are relative
to the list. --prompts has the columns name and prompt. With --manifest the clip of the case a/b/s0 is a/b/s0 or
a-b-s0, or as a run's cases folder has it; a is enough if that reference has one case. Scores that cannot be
computed are n/a, never 0, and every mean comes with the number n of clips behind it. Clips that fastvmt enlarged
are shrunk back; lossy encoding changes scores a little, so compare only clips that were encoded alike.
Without --clip, CLIP scores are for clips of tiny-wan only, as a tag in the file says: the shipped tiny-clip has
seen nothing but its world of emoji. metrics.also: see conf/metrics/default.yaml.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m fastvmt.score",
        description="Score generated clips against their references.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("generated", type=Path, help="a clip, a folder of clips, or a list (.csv, .jsonl) of triples")
    p.add_argument("reference", type=Path, nargs="?", help="a clip or a folder of clips; none with a list")
    p.add_argument("--prompt", default="", help="what the clip should show; with folders, for clips without their own")
    p.add_argument("--prompts", type=Path, help="prompts of a folder's clips: .csv or .jsonl with name and prompt")
    p.add_argument(
        "--output",
        type=Path,
        help="JSON file of scores, means and where they come from (default: outputs/scores/<date>_<time>.json)",
    )
    p.add_argument("--metrics", default="default", help="an option of conf/metrics (default: default)")
    p.add_argument("--tracker", default="dis", help="an option of conf/tracker (default: dis)")
    p.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="a benchmark (.jsonl) with references (frames, crop, "
        "masks) and prompts; generated is a folder of clips named by its cases",
    )
    p.add_argument("--clip", metavar="MODEL", help="CLIP model: a folder or file, or tiny-clip for the emoji world")
    p.add_argument(
        "--size",
        type=size,
        metavar="HxW",
        help="bring clips that were enlarged after they were generated "
        "back to this size first, e.g. 480x832; files of fastvmt say it themselves",
    )
    p.add_argument(
        "--align",
        choices=[policy.value for policy in Alignment],
        default="truncate",
        help="clips of unequal length: keep the first frames of the longer (truncate, the default), evenly "
        "spread ones (linspace), or refuse every difference (strict)",
    )
    p.add_argument("--frames", type=int, metavar="T", help="score T evenly spread frames, at least 2 (metrics.frames)")
    p.add_argument("--ignore-rate", action="store_true", help="compare frame i with frame i even when rates differ")
    p.add_argument("--folder-fps", type=float, default=24.0, help="frame rate of folders of pictures (default: 24)")
    p.add_argument(
        "--on-error",
        choices=("stop", "skip"),
        default="stop",
        help="a clip that cannot be scored: stop (default), or list it as n/a and go on",
    )
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the configuration, e.g. tracker.side=480 or, to keep tracks between "
        "commands, cache_dir=outputs/cache; may be repeated",
    )
    return p


def size(text: str) -> tuple[int, int]:
    """Height and width of ``HxW``."""
    height, width = text.lower().split("x")
    return int(height), int(width)


def find_triples(arguments: argparse.Namespace, cases: ManifestBenchmark | None) -> tuple[list[Triple], list[str]]:
    """What to score, and names without a partner."""
    naming = arguments.manifest or (arguments.generated.suffix.lower() in LISTS and arguments.generated)
    if naming and (arguments.reference or arguments.prompt or arguments.prompts):
        raise UserError(f"the list {naming} names references and prompts itself: give it alone")
    if cases is not None:
        return scoring.manifest_triples(cases, arguments.generated)
    if naming:
        return listed(arguments.generated), []
    if arguments.reference is None:
        raise UserError(f"no reference for {arguments.generated}: give a clip or a folder as the second argument")
    prompts = read_prompts(arguments.prompts) if arguments.prompts else {}
    return matched(arguments.generated, arguments.reference, prompts, arguments.prompt)


def score_all(arguments: argparse.Namespace, console: Console) -> None:
    """Find, score, print and write. Raises what the user can mend."""
    a = arguments
    manifest, group = (str(a.manifest), "manifest") if a.manifest else (None, "demo")
    options = [f"metrics={a.metrics}", f"tracker={a.tracker}", f"benchmark={group}", *a.set]
    values = {"metrics.clip.model": a.clip, "metrics.frames": a.frames, "benchmark.path": manifest}
    cfg = scoring.composed(options, values)
    cases: ManifestBenchmark | None = None
    if manifest is not None:
        cases = construct(cfg.benchmark, "benchmark", clip=None, fps=1.0, sample_seed=cfg.seed)
    triples, alone = find_triples(arguments, cases)
    policy = scoring.Policy(a.align, not a.ignore_rate, a.folder_fps, a.size, any_world=a.clip is not None)
    scores, configuration = scoring.load_scores(cfg)
    records: list[dict[str, Any]] = []
    for triple in track(triples, "clips", console=console, transient=True):
        try:
            records.append(scoring.score_triple(scores, triple, policy, cases))
        except (ValueError, OSError) as error:
            if arguments.on_error == "stop":
                raise UserError(f"{triple.id}: {error}") from error
            records.append(scoring.failed(triple, error))
    console.print(scoring.clip_table(records))
    console.print(scoring.means(records))
    if alone:
        console.print(f"without a partner, not scored ({len(alone)}): {', '.join(alone)}")
    content = {"scores": mean_scores(scoring.scored_clips(records)), "clips": records, "unmatched": alone}
    how = {"metrics": scores.provenance() | {"scored_from": "file"}}
    file = arguments.output or Path("outputs", "scores", f"{datetime.now():%Y-%m-%d_%H-%M-%S}.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, content | {"policy": vars(policy), "config": configuration, **how, **provenance()})
    console.print(f"written: {file}", soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    try:
        score_all(arguments, Console())
    except (UserError, ValueError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(f"fastvmt.score: {error}", markup=False, highlight=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
