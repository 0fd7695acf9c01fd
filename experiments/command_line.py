"""What all scripts share: what a user can mend ends in one line and with code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fastvmt.errors import UserError

RESULTS = Path(__file__).parent / "results"
"""What is committed."""
MENDABLE = (UserError, ValueError, OSError, HydraException, OmegaConfBaseException)
"""What wrong arguments, settings and files raise. A fault of the program that raises the same loses its traceback by
it, others keep theirs."""


def count(text: str) -> int:
    """A whole number from 1, as ``type=`` of an argument."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range: it must be a whole number from 1")
    return number


def writable(text: str) -> Path:
    """Make a folder before anything is measured. Raises ``argparse.ArgumentTypeError`` where that cannot be."""
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written to")
    return folder


def add_results(parser: argparse.ArgumentParser) -> None:
    """Let a script write where it is told, by default to ``outputs/``."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--results", type=writable, default=Path("outputs"), help="folder of the results; default: outputs"
    )
    where.add_argument("--commit", dest="results", action="store_const", const=RESULTS, help="to experiments/results")


def run(main: Callable[[], int | None]) -> None:
    """Run a script's ``main``, and end with the code that it returns."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here as they are, not printed by Hydra
    try:
        code = main()
    except MENDABLE as error:
        line = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"{Path(sys.argv[0]).stem}: error: {line}\n")
        code = 2
    sys.exit(code)
