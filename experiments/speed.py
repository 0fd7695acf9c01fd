"""What the parts of a transfer cost on this machine: ``python -m experiments.speed operator``, ``... growth``.

Every part is a command with its own sizes. The record of a machine is ``speed_<hardware>.json`` with the same as
tables beside it in ``.md``, in ``outputs/`` or, with ``--commit``, in ``experiments/results/``; a command replaces
its own section and keeps the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markdown import Markdown

from experiments.rows import RESULTS
from experiments.speed_operator import FORMS, Size, growth_lines, growth_record, operator_lines, operator_record
from fastvmt.files import write_json
from fastvmt.results.folder import slug
from fastvmt.results.provenance import provenance

SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {"operator": operator_lines, "growth": growth_lines}
"""The tables of each command."""


def store(folder: Path, hardware: str, section: str, record: dict[str, Any]) -> list[str]:
    """Put a command's record into the machine's files; its tables' lines."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"speed_{slug(hardware)}.json"
    sections = json.loads(file.read_text()) if file.exists() else {}
    sections[section] = record
    write_json(file, sections)
    lines = [f"# Speed on {hardware}", ""]
    for name, lines_of in SECTIONS.items():
        if name in sections:
            lines += [*lines_of(sections[name]), ""]
    file.with_suffix(".md").write_text("\n".join(lines))
    return SECTIONS[section](record)


def size_of(arguments: argparse.Namespace) -> Size:
    return Size(
        arguments.frames,
        arguments.height,
        arguments.width,
        arguments.channels,
        arguments.span,
        (arguments.tile[0], arguments.tile[1]),
        arguments.side,
    )


def operator(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flow operator in its forms."""
    names = [name for name in FORMS if any(part in name for part in arguments.forms)]
    return operator_record(names, size_of(arguments), torch.device(arguments.device), arguments.repeats)


def growth(arguments: argparse.Namespace) -> dict[str, Any]:
    """Windowed and dense flow over frames and grids, up to the size."""
    return growth_record(size_of(arguments), torch.device(arguments.device), arguments.repeats)


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--repeats", type=int, default=3, help="interleaved; the median counts")
    common.add_argument("--threads", type=int, default=1)
    common.add_argument("--device", default="cpu")
    common.add_argument("--hardware", help="name of the machine in the file; by default its device's")
    common.add_argument("--commit", action="store_true", help="write to experiments/results, not to outputs")
    commands = argparse.ArgumentParser(description=__doc__)
    add = commands.add_subparsers(dest="command", required=True)
    sized = argparse.ArgumentParser(add_help=False)
    paper = Size()
    for name in ("frames", "height", "width", "channels", "span", "side"):
        sized.add_argument(f"--{name}", type=int, default=getattr(paper, name))
    sized.add_argument("--tile", type=int, nargs=2, default=paper.tile)
    flow = add.add_parser("operator", parents=[common, sized], help=operator.__doc__)
    flow.add_argument("--forms", nargs="+", default=[""], help="only those whose names contain one of these")
    flow.set_defaults(measure=operator)
    add.add_parser("growth", parents=[common, sized], help=growth.__doc__).set_defaults(measure=growth)
    return commands


def main(words: list[str] | None = None) -> None:
    arguments = parser().parse_args(words)
    torch.set_num_threads(arguments.threads)
    record = arguments.measure(arguments) | provenance()
    hardware = arguments.hardware or record["hardware"]["device"]
    folder = RESULTS if arguments.commit else Path("outputs")
    Console().print(Markdown("\n".join(store(folder, hardware, arguments.command, record))))


if __name__ == "__main__":
    main()
