"""A run needs no network and asks for none, W&B's offline mode included."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.checks.fork import run_command
from fastvmt.data.video import write_video
from fastvmt.types import TransferCase

ROOT = Path(__file__).parents[2]
ALONE = ["unshare", "--map-root-user", "--net"]
"""Runs a command in a network namespace of its own, where even loopback is down."""
REFUSING = """
import socket, sys
def refused(self, address, *_):
    if self.family != socket.AF_UNIX:
        sys.exit(f"asked for {address}")
    return connect(self, address)
connect, socket.socket.connect = socket.socket.connect, refused
socket.getaddrinfo = lambda host, *_, **__: sys.exit(f"asked for {host}")
"""
RUNNING = """
import runpy
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone() -> bool:
    """Whether this machine lets us have a network namespace."""
    return shutil.which("unshare") is not None and subprocess.run([*ALONE, "true"], check=False).returncode == 0


TRACER = shutil.which("strace")
CALLS = "trace=connect,sendto,sendmsg"
TUNED = """# @package _global_
defaults: [override /method: motion_inversion]
method: {tuning: {iterations: 2}}
"""


@pytest.mark.slow
@pytest.mark.skipif(not alone(), reason="needs unshare --net")
def test_a_sweep_needs_no_network_and_none_of_its_processes_asks_for_one(tmp_path: Path) -> None:
    """Guided and tuned, with few steps, from the shipped weights.

    Without strace, calls of C code are only stopped by the namespace.
    """
    (tmp_path / "own" / "row").mkdir(parents=True)
    (tmp_path / "own" / "row" / "tuned.yaml").write_text(TUNED)
    log = tmp_path / "calls"
    traced = [TRACER, "-f", "--seccomp-bpf", "-qq", "-e", CALLS, "-o", str(log)] if TRACER else []
    places = [f"{key}_dir={tmp_path / key}" for key in ("output", "cache")]
    places += ["--config-dir", str(tmp_path / "own"), "sampler.steps=2", "backbone.height=64", "backbone.width=64"]
    command = [*ALONE, *traced, sys.executable, "-c", REFUSING + RUNNING, "run.py", "-m", "row=fastvmt,tuned"]
    done = subprocess.run([*command, *places], cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [tmp_path / "output" / "rows" / f"row={row}" for row in ("fastvmt", "tuned")]
    for row in rows:
        assert (row / "result.json").exists()
        assert list(row.glob("wandb/offline-run-*/*.wandb"))
    if TRACER:
        assert "AF_UNIX" in log.read_text()  # W&B's service
        assert [line for line in log.read_text().splitlines() if re.search(r"AF_INET6?\b", line)] == []


def leave_the_network(_: Path) -> None:
    """Give this process a network namespace of its own, and end it if it asks for a connection all the same."""
    user, network = 0x10000000, 0x40000000
    assert not ctypes.CDLL(None).unshare(user | network)
    exec(REFUSING, {})


@pytest.mark.skipif(not alone(), reason="needs unshare --net")
def test_scores_of_two_files_need_no_network(case: TransferCase, tmp_path: Path) -> None:
    """In a fork, which has loaded everything; that loading asks for nothing is seen by the sweep above."""
    for name in ("made", "given"):
        write_video(tmp_path / f"{name}.mp4", case.reference)
    files = [str(tmp_path / f"{name}.mp4") for name in ("made", "given")]
    command = ("score", *files, "--output", str(tmp_path / "scores.json"))
    done = run_command(command, tmp_path, confine=leave_the_network)
    assert done.code == 0, done.stderr
    assert (tmp_path / "scores.json").exists()
