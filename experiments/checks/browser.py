"""A headless Chromium, asked over pipes by the DevTools protocol: no package and no port."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)
PATIENCE = 60
"""Wall seconds for an answer."""
DOMAINS = ("Page", "Runtime", "Network", "Log")
"""What tells of its events."""


class Page:
    """An empty page of a browser that listens at one pipe and answers at another. Keeps all events, oldest first."""

    def __init__(self, to: int, of: int) -> None:
        self.to, self.of = to, of
        self.buffer = b""
        self.count = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in DOMAINS:
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method and give its result. Raises ``ValueError`` for an error, ``OSError`` for a silent browser."""
        self.count += 1
        words = {"id": self.count, "method": method, "params": params}
        message = words if self.session is None else words | {"sessionId": self.session}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._message(time.monotonic() + PATIENCE)
            if told.get("id") == self.count:
                if "error" in told:
                    raise ValueError(f"the browser refuses {method}: {told['error']['message']}")
                result: dict[str, Any] = told["result"]
                return result
            self.events.append(told)

    def wait(self, event: str) -> None:
        """Wait for an event that has not come yet. Raises ``OSError`` if it does not come."""
        end = time.monotonic() + PATIENCE
        while not self.of_kind(event):
            self.events.append(self._message(end))

    def of_kind(self, event: str) -> list[dict[str, Any]]:
        """List what all events of a kind have told."""
        return [each["params"] for each in self.events if each.get("method") == event]

    def evaluate(self, script: str) -> Any:
        """Give the value of an expression, or of what it promises. Raises ``ValueError`` where it throws."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise ValueError(f"in the page: {json.dumps(found['exceptionDetails'])[:500]}")
        return found["result"].get("value")

    def _message(self, end: float) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.of], [], [], max(0.0, end - time.monotonic()))
            block = os.read(self.of, 1 << 20) if ready else b""
            if not block:
                raise OSError("the browser has ended" if ready else f"the browser was silent for {PATIENCE} s")
            self.buffer += block
        first, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message


@contextmanager
def opened(browser: Path) -> Iterator[Page]:
    """Start a browser and give its page; it ends with the block. Raises ``OSError`` where it cannot be started."""
    (listens, to), (of, answers) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        line = f'exec "$@" 3<&{listens} 4>&{answers}'  # where --remote-debugging-pipe has its pipes
        command = ["sh", "-c", line, "sh", str(browser), *FLAGS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            command, pass_fds=(listens, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(listens)
        os.close(answers)
        try:
            yield Page(to, of)
        finally:
            process.kill()
            process.wait()
            os.close(to)
            os.close(of)
