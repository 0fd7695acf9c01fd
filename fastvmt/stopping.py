"""Ctrl-C and SIGTERM in a command: one line that says how to go on, and the exit code that belongs to the signal."""

from __future__ import annotations

import atexit
import io
import logging
import os
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
AGAIN = 1.0
"""Seconds after which a signal whose exception was swallowed, by a destructor say, is raised once more."""


class Stopped(SystemExit):
    """A signal ends the command; its code is 128 + the signal. No ``Exception``, which would be a job's failure."""


class Stopping:
    """What a signal does to the command ``name``; entered in its first line, before anything heavy is imported.

    While nothing is under way, the process ends at once. Within ``working`` the first signal raises :class:`Stopped`
    in the main thread, so that whatever is open is closed; a second one ends the process at once. When all is done the
    signals are ignored: what is left is the interpreter's own end. A signal that was ignored before, as a script's
    background jobs ignore Ctrl-C, stays so.
    """

    def __init__(self, name: str, advice: str) -> None:
        """``advice`` is what the line says after the signal's name."""
        self.name = name
        self.advice = advice
        self.working = False
        self.code: int | None = None
        """Of the first signal."""

    def __enter__(self) -> Stopping:
        print_whatever()
        for number in NAMES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.hear)
        atexit.register(self.settle)  # a signal may come between the last statement and __exit__
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.settle()

    def settle(self) -> None:
        """Nothing is under way any more: end if a signal came, else hear no further one."""
        atexit.unregister(self.settle)
        self.working = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self.code is not None:
            self.end()
        for number in NAMES:
            signal.signal(number, signal.SIG_IGN)

    def hear(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        again = self.code is not None
        self.code = 128 + number
        if again or not self.working:
            self.end_now()
        sys.unraisablehook = silent_about_stops
        signal.signal(signal.SIGALRM, self.insist)
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        raise Stopped(self.code)

    def insist(self, *_: object) -> None:
        """Raise again, unless the exception is on its way."""
        error = sys.exception()
        while error is not None:
            if isinstance(error, Stopped):
                return
            error = error.__context__
        raise Stopped(self.code)

    @property
    def line(self) -> str:
        """What the user is told; nothing in processes beside the first of several."""
        if beside_the_first() or self.code is None:
            return ""
        return f"{self.name}: stopped by {NAMES[signal.Signals(self.code - 128)]}; {self.advice}\n"

    def end(self) -> NoReturn:
        """Tell, and end: all is closed, and the interpreter's own end takes seconds where much is imported."""
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        self.end_now()

    def end_now(self) -> NoReturn:
        """Tell, and end in the middle of whatever is going on."""
        os.write(2, self.line.encode())
        os._exit(self.code or 0)


def print_whatever() -> None:
    """Let both streams escape what their encoding has not: a prompt must not end a command when all is made."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def beside_the_first() -> bool:
    """Whether this is a process beside the first of several on a machine, which alone talks to the user."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def silent_about_stops(ignored: sys.UnraisableHookArgs) -> None:
    """Report what Python had to ignore, but for a signal, which is raised once more."""
    if not isinstance(ignored.exc_value, Stopped):
        sys.__unraisablehook__(ignored)


def command_again(program: str, arguments: list[str], folder: str | None = None) -> str:
    """The command as one would type it into a shell; with ``folder`` its results go there unless it says where.

    >>> command_again("run.py", ["prompt=it's"], "outputs/1")
    'python run.py \\'prompt=it\\'"\\'"\\'s\\' output_dir=outputs/1'
    """
    typed = list(arguments)
    if folder is not None and not any(word.lstrip("+").startswith("output_dir=") for word in typed):
        typed.append(f"output_dir={folder}")
    start = ["python", program] if program.endswith(".py") else [Path(program).name]
    return shlex.join([*start, *typed])
