"""A W&B workspace for the runs of a study: ``python -m fastvmt.dashboard <folder of a sweep>``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.dashboard", "start it again") as stopping:
        from fastvmt.engine.dashboard import main  # takes seconds

        stopping.working = True
        sys.exit(main())
