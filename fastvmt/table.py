"""A table of finished runs: ``python -m fastvmt.table <folder of a sweep>``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.table", "start it again") as stopping:
        from fastvmt.studies.table_command import main  # takes seconds

        stopping.working = True
        sys.exit(main())
