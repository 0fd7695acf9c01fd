"""A thread that samples what the hardware does not accumulate itself."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Poller:
    """Calls ``sample`` every ``interval`` seconds inside its context."""

    def __init__(self, sample: Callable[[], None], interval: float) -> None:
        if not interval > 0:
            raise ValueError(f"interval={interval} s must be above 0")
        self.sample = sample
        self.interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(self.interval):
            self.sample()

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
