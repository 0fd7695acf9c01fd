"""The page of a study: ``python -m fastvmt.report <folder of a sweep>``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.report", "start it again") as stopping:
        from fastvmt.studies.report_command import main  # takes seconds

        stopping.working = True
        sys.exit(main())
