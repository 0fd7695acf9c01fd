"""How far a study is: ``python -m fastvmt.status <folder of a sweep>``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.status", "start it again") as stopping:
        from fastvmt.studies.status_command import main  # takes seconds

        stopping.working = True
        sys.exit(main())
