"""How long a study's rows take: ``python -m fastvmt.retime <folder of a sweep>``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.retime", "nothing was written, start it again") as stopping:
        from fastvmt.engine.retime import main  # takes seconds

        stopping.working = True
        sys.exit(main())
