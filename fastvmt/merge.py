"""Studies that were made apart as one: ``python -m fastvmt.merge A B --into C``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.merge", "start it again") as stopping:
        from fastvmt.studies.merge_command import main  # takes seconds

        stopping.working = True
        sys.exit(main())
