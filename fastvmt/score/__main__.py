"""Score generated clips against their references: ``python -m fastvmt.score generated.mp4 reference.mp4``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.score", "no scores were written, start it again") as stopping:
        from fastvmt.score.command import main  # takes seconds

        stopping.working = True
        sys.exit(main())
