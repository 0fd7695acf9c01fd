"""Ctrl-C and SIGTERM end a command in one line with the signal's exit code, at start-up and in the middle of work."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastvmt.engine.run  # noqa: F401  a fork finds it imported
from experiments.checks.fork import run_command, working_folder
from fastvmt.stopping import Stopping, command_again

ROOT = Path(__file__).parents[1]
WORK = """
import sys, time
from fastvmt.stopping import Stopping

class Swallower:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(0.5)

with Stopping("fastvmt", "go on") as stopping:
    stopping.working = {working}
    try:
        {work}
        time.sleep(60)
    finally:
        print("closed", flush=True)
"""
SLEEP, SWALLOW = 'print("ready", flush=True)', "Swallower()"
HEAR = "stop = lambda: signal.raise_signal(signal.SIGTERM)"
TWICE = """
import signal, time
from fastvmt.stopping import Stopping
with Stopping("fastvmt", "go on") as stopping:
    stopping.working = True
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(60)
"""


AT_THE_END = """
import atexit, time
from fastvmt.stopping import Stopping

def end():
    print("ready", flush=True)
    time.sleep(1)

atexit.register(end)  # runs after what Stopping registers
with Stopping("fastvmt", "go on") as stopping:
    stopping.working = True
"""
BETWEEN = """
import signal
from fastvmt.stopping import Stopping
stopping = Stopping("fastvmt", "go on").__enter__()
stopping.working = True
signal.raise_signal(signal.SIGTERM)  # as if it came before __exit__ begins
"""


def heard() -> None:
    """Let a program hear Ctrl-C, though the tests may run where it is ignored, as in a script's background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stopped(code: str, number: signal.Signals) -> tuple[int, str, str]:
    """Exit code and output of a program that is sent a signal when it prints its first line."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heard,
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
    return child.returncode, out, err


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_work_is_closed_and_the_one_line_told(number, name) -> None:
    code, out, err = stopped(WORK.format(working=True, work=SLEEP), number)
    assert (code, out, err) == (128 + number, "closed\n", f"fastvmt: stopped by {name}; go on\n")


def test_before_the_work_nothing_is_waited_for() -> None:
    code, out, err = stopped(WORK.format(working=False, work=SLEEP), signal.SIGTERM)
    assert (code, out, err) == (143, "", "fastvmt: stopped by SIGTERM; go on\n")


@pytest.mark.parametrize("module", ["fastvmt.score", "fastvmt.table"])
def test_commands_hear_signals_while_they_import(module) -> None:
    hook = "sys.addaudithook(lambda event, words: event == 'import' and words[0] == 'torch' and stop())"
    code = f"import runpy, signal, sys; {HEAR}; {hook}; runpy.run_module({module!r}, run_name='__main__')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (143, 1)
    assert done.stderr.startswith(f"{module}: stopped by SIGTERM; ")


def test_a_swallowed_signal_is_raised_again() -> None:
    code, out, err = stopped(WORK.format(working=True, work=SWALLOW), signal.SIGINT)
    assert (code, out, err) == (130, "closed\n", "fastvmt: stopped by Ctrl-C; go on\n")


def test_what_is_done_is_not_stopped() -> None:
    assert stopped(AT_THE_END, signal.SIGTERM) == (0, "", "")


def test_a_signal_between_the_work_and_its_end_is_told() -> None:
    done = subprocess.run([sys.executable, "-c", BETWEEN], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (143, "fastvmt: stopped by SIGTERM; go on\n")


def test_a_second_signal_does_not_wait_for_the_closing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE], cwd=ROOT, capture_output=True, text=True, timeout=30, preexec_fn=heard
    )
    assert (done.returncode, done.stderr) == (143, "fastvmt: stopped by SIGTERM; go on\n")


def test_an_ignored_signal_stays_ignored_and_processes_beside_the_first_are_silent(monkeypatch) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with Stopping("fastvmt", "go on") as stopping:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    stopping.code = 130
    assert stopping.line
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert stopping.line == ""


@pytest.mark.parametrize(
    ("arguments", "folder", "expected"),
    [
        (["prompt=it's a dog"], "outputs/1", ["prompt=it's a dog", "output_dir=outputs/1"]),
        (["-m", "window.l=3,5"], "outputs/1", ["-m", "window.l=3,5", "output_dir=outputs/1"]),
        (["--config-dir", "x", "-m"], "outputs/1", ["--config-dir", "x", "-m", "output_dir=outputs/1"]),
        (["seed=1", "output_dir=my out"], "my out", ["seed=1", "output_dir=my out"]),
        (["seed=1"], None, ["seed=1"]),
    ],
)
def test_the_command_again_is_what_was_typed_with_the_folder(arguments, folder, expected) -> None:
    assert shlex.split(command_again("run.py", arguments, folder)) == ["python", "run.py", *expected]
    assert shlex.split(command_again("/a/bin/fastvmt", arguments, folder)) == ["fastvmt", *expected]


@pytest.mark.slow
def test_a_run_stops_while_it_starts_and_goes_on_by_the_printed_command(random_wan, tmp_path) -> None:
    words = [f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "guidance.block=1"]
    command = [sys.executable, str(ROOT / "run.py"), *words, "sampler.steps=1", "metrics=none", "logger=none"]
    here = working_folder(tmp_path)
    with subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as child:
        while not list(here.glob("outputs/*/*/fastvmt.log")):
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    (line,) = err.splitlines()
    assert child.returncode == 130 and line.startswith("fastvmt: stopped by Ctrl-C; ")
    python, program, *again = shlex.split(line.partition("go on with: ")[2])
    assert (python, program) == ("python", str(ROOT / "run.py"))
    done = run_command(("run", *again), tmp_path)
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_words_that_the_terminal_has_not_are_escaped(encoding: str) -> None:
    """Whatever the prompt is: all is made when it is printed."""
    code = "import sys; from fastvmt.stopping import Stopping\nwith Stopping('fastvmt', 'go on'): print('a 犬 \\udcff')"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stderr
    shown = "犬".encode() if encoding == "utf-8" else b"\\u72ac"
    assert done.stdout == b"a " + shown + b" \\udcff\n"
