"""What transfers and their parts cost on this machine: ``python -m experiments.speed operator``, ``... loop``, ...

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

from experiments import command_line
from experiments.random_wan import SIZES
from experiments.speed_gpu import gpu_lines, gpu_record, real_lines, real_record
from experiments.speed_loop import FORMS as LOOPS
from experiments.speed_loop import PLAIN, frames_lines, frames_record, loop_lines, loop_record
from experiments.speed_operator import FORMS, Size, growth_lines, growth_record, operator_lines, operator_record
from fastvmt.files import write_json
from fastvmt.results.folder import slug
from fastvmt.results.provenance import provenance

SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "operator": operator_lines,
    "growth": growth_lines,
    "loop": loop_lines,
    "loop_mid": loop_lines,
    "frames": frames_lines,
    "gpu": gpu_lines,
    "real": real_lines,
}
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


def loop(arguments: argparse.Namespace) -> dict[str, Any]:
    """Whole transfers in their forms, as ratios to plain sampling."""
    names = [name for name in LOOPS if name == PLAIN or any(part in name for part in arguments.forms)]
    device = torch.device(arguments.device)
    return loop_record(arguments.model, names, device, arguments.repeats, arguments.steps)


def frames(arguments: argparse.Namespace) -> dict[str, Any]:
    """Transfers over frames and sizes."""
    device = torch.device(arguments.device)
    return frames_record(arguments.model, arguments.frames, device, arguments.repeats, arguments.steps)


def gpu(arguments: argparse.Namespace) -> dict[str, Any]:
    """Full size on an accelerator: memory presets, transfers of few steps, two gradients of 14B; random weights."""
    return gpu_record(*arguments.sizes, torch.device(arguments.device), arguments.minutes)


def real(arguments: argparse.Namespace) -> dict[str, Any]:
    """A real-size model at 300 tokens, float32 and bfloat16: 12 GB of memory on a CPU."""
    return real_record(arguments.model, torch.device(arguments.device))


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--repeats", type=command_line.count, default=3, help="interleaved; the median counts")
    common.add_argument("--threads", type=command_line.count, default=1)
    common.add_argument("--device", help="cpu; of the command gpu: cuda")
    common.add_argument("--hardware", help="name of the machine in the file; by default its device's")
    command_line.add_results(common)
    commands = argparse.ArgumentParser(description=__doc__)
    add = commands.add_subparsers(dest="command", required=True)
    sized = argparse.ArgumentParser(add_help=False)
    paper = Size()
    for name in ("frames", "height", "width", "channels", "span", "side"):
        sized.add_argument(f"--{name}", type=command_line.count, default=getattr(paper, name))
    sized.add_argument("--tile", type=command_line.count, nargs=2, default=paper.tile)
    flow = add.add_parser("operator", parents=[common, sized], help=operator.__doc__)
    flow.add_argument("--forms", nargs="+", default=[""], help="only those whose names contain one of these")
    flow.set_defaults(measure=operator)
    add.add_parser("growth", parents=[common, sized], help=growth.__doc__).set_defaults(measure=growth)
    whole = argparse.ArgumentParser(add_help=False)
    whole.add_argument("--steps", type=command_line.count, default=5, help="denoising steps of a random model")
    loops = add.add_parser("loop", parents=[common, whole], help=loop.__doc__)
    loops.add_argument("--model", default="tiny-wan", choices=["tiny-wan", *SIZES])
    loops.add_argument("--forms", nargs="+", default=[""], help="only those whose names contain one of these")
    loops.set_defaults(measure=loop)
    over = add.add_parser("frames", parents=[common, whole], help=frames.__doc__)
    over.add_argument("--model", default="mid", choices=list(SIZES))
    over.add_argument("--frames", type=command_line.count, nargs="+", default=[17, 33, 49, 81, 121, 161])
    over.set_defaults(measure=frames)
    full = add.add_parser("gpu", parents=[common], help=gpu.__doc__)
    full.add_argument("--sizes", nargs=2, default=["1.3B", "14B"], choices=list(SIZES))
    full.add_argument("--minutes", type=float, default=8.0, help="no row begins after three quarters of it")
    full.set_defaults(measure=gpu)
    few = add.add_parser("real", parents=[common], help=real.__doc__)
    few.add_argument("--model", default="1.3B", choices=list(SIZES))
    few.set_defaults(measure=real)
    return commands


def main(words: list[str] | None = None) -> None:
    arguments = parser().parse_args(words)
    arguments.device = arguments.device or ("cuda" if arguments.command == "gpu" else "cpu")
    torch.set_num_threads(arguments.threads)
    record = arguments.measure(arguments) | provenance()
    hardware = arguments.hardware or record["hardware"]["device"]
    random_loop = arguments.command == "loop" and arguments.model != "tiny-wan"
    section = "loop_mid" if random_loop else arguments.command
    Console().print(Markdown("\n".join(store(arguments.results, hardware, section, record))))


if __name__ == "__main__":
    command_line.run(main)
