"""The words of ``python -m fastvmt.score``."""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path
from typing import Any

from fastvmt.data.alignment import Alignment
from fastvmt.score.registry import table
from fastvmt.settings import LARGEST_RATE, is_rate

SIDES = (16, 8192)
"""Of a clip that scores can be made of, pixels: smallest and largest."""
EXAMPLES = """
examples:
  python -m fastvmt.score generated.mp4 reference.mp4 --prompt "a dog on grass" --clip ViT-B-32.pt
  python -m fastvmt.score generated/ references/ --prompts prompts.csv --output scores.json
  python -m fastvmt.score generated/ --manifest bench.jsonl
  python -m fastvmt.score triples.jsonl --frames 24 --on-error skip
  python -m fastvmt.score a.mp4 b.mp4 --set "metrics.also=[motion_fidelity_compat_smm,motion_fidelity_hybrid]"
  python -m fastvmt.score --list

A clip is a video file or a folder of pictures. Two folders are matched by file name without suffix. A list (.csv
with a header, or .jsonl) has the columns generated, reference, prompt and, optionally, id; its paths are relative
to the list. --prompts has the columns name and prompt. With --manifest the clip of the case a/b/s0 is a/b/s0 or
a-b-s0, or as a run's cases folder has it; a is enough if that reference has one case. Scores that cannot be
computed are n/a, never 0, and every mean comes with the number n of clips behind it. Clips that fastvmt enlarged
are shrunk back; lossy encoding changes scores a little, so compare only clips that were encoded alike.
Without --clip, CLIP scores are for clips of tiny-wan only, as a tag in the file says: the shipped tiny-clip has
seen nothing but its world of emoji. metrics.also: see conf/metrics/default.yaml.
"""


class Listing(argparse.Action):
    """Prints the table of scores and stops."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        sys.stdout.write(table())
        parser.exit()


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
    p.add_argument("--list", action=Listing, nargs=0, help="say what every score is, as a table in Markdown, and stop")
    p.add_argument("--prompt", default="", help="what the clip should show; with folders, for clips without their own")
    p.add_argument("--prompts", type=Path, help="prompts of a folder's clips: .csv or .jsonl with name and prompt")
    written = "JSON file of scores, means and where they come from (default: outputs/scores/<date>_<time>.json)"
    p.add_argument("--output", type=Path, help=written)
    p.add_argument("--metrics", default="default", help="an option of conf/metrics (default: default)")
    p.add_argument("--tracker", default="dis", help="an option of conf/tracker (default: dis)")
    p.add_argument("--clip", metavar="MODEL", help="CLIP model: a folder or file, or tiny-clip for the emoji world")
    p.add_argument("--frames", type=int, metavar="T", help="score T evenly spread frames, at least 2 (metrics.frames)")
    given = "a benchmark (.jsonl) with references (frames, crop, masks) and prompts; generated is a folder of clips "
    p.add_argument("--manifest", type=Path, metavar="FILE", help=f"{given}named by its cases")
    skipped = "a clip that cannot be scored: stop (default), or list it as n/a and go on"
    p.add_argument("--on-error", choices=("stop", "skip"), default="stop", help=skipped)
    override = "override a key of the configuration, e.g. tracker.side=480 or, to keep tracks between commands, "
    override += "cache_dir=outputs/cache; may be repeated"
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=override)
    add_comparability(p)
    return p


def add_comparability(p: argparse.ArgumentParser) -> None:
    """Add the options that make clips comparable, see :class:`fastvmt.score.files.Policy`."""
    enlarged = "bring clips that were enlarged after they were generated back to this size first, e.g. 480x832; files "
    p.add_argument("--size", type=size, metavar="HxW", help=f"{enlarged}of fastvmt say it themselves")
    unequal = "clips of unequal length: keep the first frames of the longer (truncate, the default), evenly spread "
    p.add_argument(
        "--align",
        choices=[policy.value for policy in Alignment],
        default="truncate",
        help=f"{unequal}ones (linspace), or refuse every difference (strict)",
    )
    p.add_argument("--ignore-rate", action="store_true", help="compare frame i with frame i even when rates differ")
    p.add_argument("--folder-fps", type=rate, default=24.0, help="frame rate of folders of pictures (default: 24)")


def size(text: str) -> tuple[int, int]:
    """Height and width of ``HxW``."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.lower(), re.ASCII)
    if found is None or not all(SIDES[0] <= int(side) <= SIDES[1] for side in found.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} must be HxW in pixels, both in [{SIDES[0]}, {SIDES[1]}]")
    return int(found[1]), int(found[2])


def rate(text: str) -> float:
    """Frames per second."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_rate(value):
        raise argparse.ArgumentTypeError(f"{text!r} must be frames per second, above 0 and at most {LARGEST_RATE}")
    return value
