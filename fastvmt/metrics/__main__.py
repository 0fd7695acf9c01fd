"""Score generated clips against their references: ``python -m fastvmt.metrics generated.mp4 reference.mp4``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from fastvmt.data.alignment import Alignment
from fastvmt.data.triples import LISTS, Triple, listed, matched, read_prompts
from fastvmt.engine.plan import UserError
from fastvmt.engine.record import Record, mean_scores, provenance, write_json
from fastvmt.engine.scoring import Policy, clip_table, failed, load_scores, means, score_triple

EXAMPLES = """
examples:
  python -m fastvmt.metrics generated.mp4 reference.mp4 --prompt "a dog on grass"
  python -m fastvmt.metrics generated/ references/ --prompts prompts.csv --output scores.json
  python -m fastvmt.metrics triples.jsonl --frames 24 --on-error skip
  python -m fastvmt.metrics a.mp4 b.mp4 --set "metrics.also=[motion_fidelity_compat_smm,motion_fidelity_hybrid]"

A clip is a video file or a folder of pictures. Two folders are matched by file name without suffix.
A list (.csv with a header, or .jsonl) has the columns generated, reference, prompt and, optionally, id;
its paths are relative to the list. --prompts has the columns name and prompt. Scores that cannot be
computed are n/a, never 0, and every mean comes with the number n of clips behind it. Files are scored as
they are: lossy encoding lowers scores a little, so compare only clips that were encoded alike.

metrics.also adds scores to those of --metrics, among them the other forms of motion fidelity:
motion_fidelity_precision, _recall, _hybrid (with trajectory shapes), _paper (as written) and _compat_smm,
_compat_ditflow, _compat_det (as released code computes it; comparable only for equal tracker, frames and size).
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m fastvmt.metrics", description="Score generated clips against their references.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("generated", type=Path, help="a clip, a folder of clips, or a list (.csv, .jsonl) of triples")
    p.add_argument("reference", type=Path, nargs="?", help="a clip or a folder of clips; none with a list")
    p.add_argument("--prompt", default="", help="what the clip should show; with folders, for clips without their own")
    p.add_argument("--prompts", type=Path, help="prompts of a folder's clips: .csv or .jsonl with name and prompt")
    p.add_argument("--output", type=Path, help="write scores, means and where they come from to this JSON file")
    p.add_argument("--metrics", default="default", help="an option of conf/metrics (default: default)")
    p.add_argument("--tracker", default="dis", help="an option of conf/tracker (default: dis)")
    p.add_argument(
        "--clip", metavar="MODEL", help="CLIP model: a shipped name or a folder (default: as --metrics says)"
    )
    p.add_argument("--align", choices=[policy.value for policy in Alignment], default="truncate",
                   help="clips of unequal length: keep the first frames of the longer (truncate, the default), evenly "
                   "spread ones (linspace), or refuse every difference (strict)")  # fmt: skip
    p.add_argument("--frames", type=int, metavar="T", help="score T evenly spread frames; motion fidelity depends on T")
    p.add_argument("--ignore-rate", action="store_true", help="compare frame i with frame i even when rates differ")
    p.add_argument("--folder-fps", type=float, default=24.0, help="frame rate of folders of pictures (default: 24)")
    p.add_argument("--on-error", choices=("stop", "skip"), default="stop",
                   help="a clip that cannot be scored: stop (default), or list it as n/a and go on")  # fmt: skip
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                   help="override a key of the metrics or the tracker (tracker.side=480); may be repeated")  # fmt: skip
    return p


def find_triples(arguments: argparse.Namespace) -> tuple[list[Triple], list[str]]:
    """What to score, and names without a partner."""
    if arguments.generated.suffix.lower() in LISTS:
        if arguments.reference or arguments.prompt or arguments.prompts:
            raise UserError(f"the list {arguments.generated} names references and prompts itself: give it alone")
        return listed(arguments.generated), []
    if arguments.reference is None:
        raise UserError(f"no reference for {arguments.generated}: give a clip or a folder as the second argument")
    prompts = read_prompts(arguments.prompts) if arguments.prompts else {}
    return matched(arguments.generated, arguments.reference, prompts, arguments.prompt)


def score_all(arguments: argparse.Namespace, console: Console) -> None:
    """Find, score, print and write. Raises what the user can mend."""
    triples, alone = find_triples(arguments)
    policy = Policy(arguments.align, arguments.frames, not arguments.ignore_rate, arguments.folder_fps)
    scores, configuration = load_scores(arguments.metrics, arguments.tracker, arguments.clip, arguments.set)
    records: list[Record] = []
    for triple in track(triples, "clips", console=console, transient=True):
        try:
            records.append(score_triple(scores, triple, policy))
        except (ValueError, OSError) as error:
            if arguments.on_error == "stop":
                raise UserError(f"{triple.id}: {error}") from error
            records.append(failed(triple, error))
    console.print(clip_table(records))
    console.print(means(records))
    if alone:
        console.print(f"without a partner, not scored ({len(alone)}): {', '.join(alone)}")
    if arguments.output:
        content = {"scores": mean_scores(records), "clips": records, "unmatched": alone}
        how = {"metrics": scores.provenance() | {"scored_from": "file"}}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.output, content | {"policy": vars(policy), "config": configuration, **how, **provenance()})
        console.print(f"written: {arguments.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    try:
        score_all(arguments, Console())
    except (UserError, ValueError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(f"fastvmt.metrics: {error}", markup=False, highlight=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
