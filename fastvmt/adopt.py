"""Another system's clips as a row of a study: ``python -m fastvmt.adopt <clips> --row "its name" --study <folder>``."""

from __future__ import annotations

import sys

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.adopt", "start it again") as stopping:
        from fastvmt.engine.adopt import main  # takes seconds

        stopping.working = True
        sys.exit(main())
