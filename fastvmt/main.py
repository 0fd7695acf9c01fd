"""The command ``fastvmt``, also as ``python run.py``. Imports nothing that takes time before it hears signals."""

from __future__ import annotations

import os
import sys

from fastvmt.stopping import Stopping, command_again

KEPT = "what is finished is kept, go on with: "
ANEW = "rerun=all makes every case anew, without it what is finished is kept: "


def main() -> None:
    """Run the command line. Its exit code: 0, 1 for failed jobs of a sweep, 2 for what the user can mend, 130, 143."""
    arguments = sys.argv[1:]
    told = ANEW if "rerun=all" in arguments else KEPT
    with Stopping("fastvmt", told + command_again(sys.argv[0], arguments)) as stopping:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that wait leave the cores to others
        from fastvmt.application import Application  # Hydra takes its time

        def output_folder(folder: str) -> None:
            """Say where the results go, now that it is known, and begin what is worth closing."""
            stopping.advice = told + command_again(sys.argv[0], arguments, folder)
            stopping.working = True

        Application(arguments, output_folder).launch()
