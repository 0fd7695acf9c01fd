"""Commands in forked processes: what is heavy is imported once, every command starts from there."""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import os
import pkgutil
import resource
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from experiments.checks.trial import HERE, Outcome

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "lightning", "wandb", "torchmetrics", "open_clip", "av", "cv2", "matplotlib.pyplot", "hydra")
MEMORY = 12 * 2**30
"""Address space of a command, bytes: what asks for more is refused by the system, not by this machine's other work."""
MODULES = {"score": "fastvmt.score", "manifest": "fastvmt.manifest"}
"""Programs by their short names; others are called by their module's."""
POLL = 0.01
PATIENCE = 10
"""Wall seconds for each CPU second that a command may take: the machine may be busy."""


def preload() -> None:
    """Import every module of the package and what is heavy beside it, and leave torch and OpenCV with one thread.

    Raises ``RuntimeError`` if threads are running, which a fork would lose.
    """
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    package = importlib.import_module("fastvmt")
    for module in pkgutil.walk_packages(package.__path__, "fastvmt."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in HEAVY:  # after the package, which prepares for torchvision
        importlib.import_module(name)
    from diffusers import AutoencoderKLWan, WanPipeline  # noqa: F401  imported lazily by name otherwise

    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise RuntimeError(f"{threads} threads are running: set OMP_NUM_THREADS=1")


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder that only its maker removes: ``tempfile``'s own would be removed by whatever forks."""
    folder = Path(tempfile.mkdtemp(prefix="fastvmt-fault-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def forked(work: Callable[[], int]) -> int:
    """Run ``work`` in a new process, which ends with the number it returns, whatever happens; returns its id."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    child = os.fork()
    if child:
        return child
    gc.freeze()  # the parent's garbage is not collected here: what waits there for threads would wait for ever
    code = 1
    try:
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stderr.flush()
        finally:
            os._exit(code)  # never back into what the parent was doing


def words(command: Sequence[str], here: Path) -> list[str]:
    """The command's arguments with the trial's folder in place."""
    return [word.replace(HERE, str(here)) for word in command]


def shown(command: Sequence[str]) -> str:
    """The command as one would type it."""
    program = "run.py" if command[0] == "run" else f"-m {MODULES.get(command[0], command[0])}"
    return f"python {program} {shlex.join(command[1:])}"


def working_folder(here: Path) -> Path:
    """Where commands run: deep enough that ``../../x`` stays inside the trial's folder."""
    folder = here / "a" / "b"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def start(command: Sequence[str], here: Path, confine: Callable[[Path], None] | None = None, seconds: int = 300) -> int:
    """Fork a process group that runs the command with its output in ``stdout`` and ``stderr``; returns its id.

    The command may take ``seconds`` of CPU time.
    """
    folder = working_folder(here)

    def work() -> int:
        _enter(here, folder)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        if confine is not None:
            confine(here)
        return _call(words(command, here))

    return forked(work)


def start_fresh(command: Sequence[str], here: Path) -> int:
    """The same in a new interpreter, its start-up included."""
    folder = working_folder(here)
    program = [str(ROOT / "run.py")] if command[0] == "run" else ["-m", MODULES.get(command[0], command[0])]
    with (here / "stdout").open("wb") as out, (here / "stderr").open("wb") as err:
        arguments = [sys.executable, *program, *words(command[1:], here)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=environment, process_group=0
        ).pid


def wait(child: int, seconds: float) -> int | None:
    """The exit code; None if the group had to be killed because it took longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def outcome(here: Path, code: int | None, began: float) -> Outcome:
    """An ended command with what it wrote."""
    out, err = ((here / name).read_text(encoding="utf-8", errors="replace") for name in ("stdout", "stderr"))
    return Outcome(code, out, err, time.monotonic() - began)


def run_command(
    command: Sequence[str], here: Path, seconds: int = 120, confine: Callable[[Path], None] | None = None
) -> Outcome:
    """Run a command to its end, or until its CPU time or ``PATIENCE`` times that are up."""
    began = time.monotonic()
    return outcome(here, wait(start(command, here, confine, seconds), PATIENCE * seconds), began)


def _enter(here: Path, folder: Path) -> None:
    """Give a new process its group, folder, streams and limits."""
    import torch

    torch.set_num_threads(1)  # renews the pool that a fork leaves behind, before two threads at once would
    os.setpgid(0, 0)
    os.chdir(folder)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(here / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644), number)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _call(arguments: list[str]) -> int:
    """Run a program as the interpreter would, to its exit code."""
    program = arguments[0]
    sys.argv = [arguments[0], *arguments[1:]]
    atexit._clear()  # what the parent cleans up at its own end, such as temporary folders, is not this program's
    try:
        if program == "run":
            sys.argv[0] = str(ROOT / "run.py")
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            module = MODULES.get(program, program)
            sys.modules.pop(module, None)  # imported for speed: runpy would warn of it
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = _code(stop.code)
    except BaseException as error:
        traceback.print_exc()
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _code(given: object) -> int:
    if given is None or isinstance(given, int):
        return int(given or 0)
    sys.stderr.write(f"{given}\n")
    return 1


def private_mounts() -> bool:
    """Whether this process may mount; what it mounts after this call is seen by it alone and ends with it."""
    namespace, recursive, private = 0x00020000, 0x4000, 1 << 18
    libc = ctypes.CDLL(None, use_errno=True)
    return not libc.unshare(namespace) and not libc.mount(b"none", b"/", None, recursive | private, None)


def mount_memory(folder: Path, size: str, read_only: bool = False) -> None:
    """Mount a file system of ``size`` (``64k``) in memory over a folder, with what the folder held.

    Raises ``OSError`` where that is not allowed.
    """
    remount, read = 0x20, 0x1
    libc = ctypes.CDLL(None, use_errno=True)
    held = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    target = os.fsencode(folder)
    if libc.mount(b"tmpfs", target, b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), "mount", str(folder))
    for name, content in held.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if read_only and libc.mount(b"tmpfs", target, b"tmpfs", remount | read, None):
        raise OSError(ctypes.get_errno(), "remount", str(folder))
