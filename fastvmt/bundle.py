"""A study as one file: ``python -m fastvmt.bundle <folder of a sweep>``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.bundle", "start it again") as stopping:
        from fastvmt.studies.bundle_command import main  # takes seconds

        stopping.working = True
        sys.exit(main())
