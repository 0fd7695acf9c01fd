"""A table of finished runs: ``python -m fastvmt.table <folder of a sweep>``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fastvmt.stopping import Stopping

if TYPE_CHECKING:
    from fastvmt.studies.rows import Row
    from fastvmt.studies.table import Chance


def chance(row: Row) -> Chance:
    """Measure the chance level of a row. What that needs takes seconds to import, so only ``--chance`` imports it."""
    from fastvmt.engine.chance import chance_level

    return chance_level(row)


if __name__ == "__main__":
    with Stopping("fastvmt.table", "start it again") as stopping:
        from fastvmt.studies.table_command import main  # takes seconds

        stopping.working = True
        sys.exit(main(chance=chance))
