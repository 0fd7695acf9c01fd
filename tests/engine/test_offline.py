"""A run needs no network and asks for none, W&B's offline mode included."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALONE = ["unshare", "--map-root-user", "--net"]
"""Runs a command in a network namespace of its own, where even loopback is down."""
REFUSING = """
import runpy, socket, sys
def refused(self, address, *_):
    assert self.family == socket.AF_UNIX, f"asked for {address}"
    return connect(self, address)
connect, socket.socket.connect = socket.socket.connect, refused
socket.getaddrinfo = lambda host, *_, **__: sys.exit(f"asked for {host}")
program = sys.argv.pop(1)
sys.argv[0] = program
if program.endswith(".py"):
    runpy.run_path(program, run_name="__main__")
else:
    runpy.run_module(program, run_name="__main__", alter_sys=True)
"""


def alone() -> bool:
    """Whether this machine lets us have a network namespace."""
    return shutil.which("unshare") is not None and subprocess.run([*ALONE, "true"], check=False).returncode == 0


@pytest.fixture
def demo(tmp_path: Path) -> list[str]:
    """The demo with few steps, from the shipped weights."""
    return ["sampler.steps=2", f"output_dir={tmp_path / 'out'}", f"cache_dir={tmp_path / 'cache'}"]


def run_alone(*words: str) -> None:
    """Run a program of ours without a network; it fails if it asks for a connection."""
    command = [*ALONE, sys.executable, "-c", REFUSING, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


TUNED = ["method=motion_inversion", "method.tuning.iterations=2", "sampler.steps=2"]


@pytest.mark.slow
@pytest.mark.skipif(not alone(), reason="needs unshare --net")
@pytest.mark.parametrize("method", [[], TUNED], ids=["fastvmt", "tuned"])
def test_runs_and_scores_need_no_network(method, demo, tmp_path):
    run_alone("run.py", *demo, *method)
    assert (tmp_path / "out" / "result.json").exists()
    assert list(tmp_path.glob("out/wandb/offline-run-*/*.wandb"))
    made, given = (next(tmp_path.glob(f"out/cases/*/{name}.mp4")) for name in ("generated", "reference"))
    run_alone("fastvmt.score", str(made), str(given), "--output", str(tmp_path / "scores.json"))
    assert (tmp_path / "scores.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(not alone() or shutil.which("strace") is None, reason="needs unshare --net and strace")
def test_no_process_of_the_demo_asks_for_a_connection(demo, tmp_path):
    log = tmp_path / "calls"
    traced = [*ALONE, "strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(log)]
    command = [*traced, sys.executable, "run.py", *demo]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    asked = [line for line in log.read_text().splitlines() if re.search(r"AF_INET6?\b", line)]
    assert asked == []
