"""The processors' own energy counters (RAPL), where the operating system lets them be read."""

from __future__ import annotations

import threading
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
ZONES = "intel-rapl:*/name"
"""AMD's too; ``intel-rapl-mmio:*`` are other counters of the same packages."""


class Rapl:
    """Energy of all CPU packages, other programs' share included and the memory's left out.

    The counters start again after some 10^5 joules: read them more often than that.
    """

    def __init__(self, zones: list[Path]) -> None:
        """``zones``: folders of packages. Raises ``OSError`` or ``ValueError`` if one cannot be read."""
        self.range_uj = {zone: int((zone / "max_energy_range_uj").read_text()) for zone in zones}
        self.last_uj = {zone: int((zone / "energy_uj").read_text()) for zone in zones}
        self.total_uj = 0
        self._lock = threading.Lock()

    def energy_mj(self) -> int | None:
        """Millijoules since this was made; None if a counter can no longer be read."""
        with self._lock:
            for zone, before in self.last_uj.items():
                try:
                    now = int((zone / "energy_uj").read_text())
                except OSError:
                    return None
                self.total_uj += (now - before) % self.range_uj[zone]
                self.last_uj[zone] = now
            return self.total_uj // 1000

    def power_mw(self) -> None:
        """These counters know no power."""


def open_rapl(folder: Path = POWERCAP) -> tuple[Rapl | None, str]:
    """The counters, and why they cannot be read (empty when they can)."""
    try:
        zones = [file.parent for file in sorted(folder.glob(ZONES)) if file.read_text().startswith("package")]
        return (Rapl(zones), "") if zones else (None, f"{folder} names no CPU package")
    except (OSError, ValueError) as error:
        return None, f"the CPU's counters cannot be read: {error}"
