"""New scores of kept videos: ``python -m fastvmt.rescore <folder of a sweep> metrics.also=[..]``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.rescore", "scores that are computed are kept, start it again") as stopping:
        from fastvmt.engine.rescore import main  # takes seconds

        stopping.working = True
        sys.exit(main())
