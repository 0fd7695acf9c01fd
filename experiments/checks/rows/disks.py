"""Disks that are full or may not be written to."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

from experiments.checks.clips import pattern, write
from experiments.checks.fork import forked, mount_memory, private_mounts
from experiments.checks.rows.small import QUIET
from experiments.checks.rows.stores import TRANSFER, Template, finished, same
from experiments.checks.trial import HERE, Expect, Trial

SIZES = ("4k", "16k", "64k", "128k", "256k")


def may_mount() -> bool:
    """Whether commands can be given disks of their own here, as root on Linux."""
    child = forked(lambda: 0 if private_mounts() else 1)
    return os.waitpid(child, 0)[1] == 0


def disk(part: str, size: str, read_only: bool = False) -> Callable[[Path], None]:
    """Give the command a small disk of its own at ``part``."""

    def confine(here: Path) -> None:
        private_mounts()
        (here / part).mkdir(parents=True, exist_ok=True)
        mount_memory(here / part, size, read_only)

    return confine


def longest_file(size: int) -> Callable[[Path], None]:
    """Let no file grow beyond ``size`` bytes, the next best to a full disk."""
    return lambda here: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def of_limits() -> list[Trial]:
    """Files that may not grow, and folders that are none."""
    refuse = Expect.refuse

    def limited(size: int) -> Trial:
        names = ("space", "large", "output_dir", "cache_dir")
        return Trial("disks", f"longest_file_{size}", TRANSFER, refuse, names, confine=longest_file(size))

    def blocked(part: str, expect: Expect) -> Trial:

        def prepare(here: Path) -> object:
            return (here / part).write_text("x")

        return Trial("disks", f"{part}_is_a_file", TRANSFER, expect, (part, f"{part}_dir", "output_dir"), prepare)

    return [
        *(limited(size) for size in (2000, 20000, 100000)),
        blocked("out", refuse),
        blocked("cache", Expect.either),
    ]


def of_runs(template: Template) -> list[Trial]:
    """Runs whose results or caches have no room."""

    def filled(here: Path) -> None:
        for part in ("out", "cache"):
            shutil.copytree(template.folder / part, here / part)

    def only_cache(here: Path) -> None:
        shutil.copytree(template.folder / "cache", here / "cache")

    refuse, accept, same_result = Expect.refuse, Expect.accept, same(template)
    names = ("output_dir", "space", f"{HERE}/out")
    wandb = (*(word for word in TRANSFER if word != "logger=none"), "logger=wandb")
    return [
        *(Trial("disks", f"out_{s}", TRANSFER, refuse, names, confine=disk("out", s)) for s in SIZES),
        *(
            Trial("disks", f"cache_{s}", TRANSFER, accept, check=same_result, confine=disk("cache", s))
            for s in SIZES[:3]
        ),
        Trial("disks", "out_read_only", TRANSFER, refuse, names, confine=disk("out", "4m", True)),
        Trial(
            "disks", "out_finished_read_only", TRANSFER, Expect.either, names, filled, confine=disk("out", "8m", True)
        ),
        Trial(
            "disks", "cache_read_only", TRANSFER, accept, (), only_cache, same_result, confine=disk("cache", "8m", True)
        ),
        Trial("disks", "cache_empty_read_only", TRANSFER, accept, check=same_result, confine=disk("cache", "4k", True)),
        Trial("disks", "wandb_read_only", wandb, Expect.either, ("output_dir",), confine=disk("out/wandb", "4k", True)),
        Trial(
            "disks", "dry_read_only", ("run", "dry=true", *QUIET), Expect.either, names, confine=disk("out", "4k", True)
        ),
    ]


def of_other_commands() -> list[Trial]:
    """Where the other commands write."""

    def clips(here: Path) -> None:
        write(here / "clips" / "a.mp4", pattern(9))
        (here / "prompts.yaml").write_text("a: {category: camera, prompts: [{id: x, text: a dog}]}")

    pair = ("score", f"{HERE}/clips/a.mp4", f"{HERE}/clips/a.mp4", "--metrics", "none", "--output", f"{HERE}/to/x.json")
    manifest = ("manifest", f"{HERE}/clips", f"{HERE}/prompts.yaml", f"{HERE}/to/x.jsonl", "--license", "own")
    return [
        Trial(
            "disks",
            f"{command[0]}_{name}",
            command,
            Expect.refuse,
            (f"{HERE}/to", "space", "/to"),
            clips,
            confine=confine,
        )
        for command in (pair, manifest)
        for name, confine in (("read_only", disk("to", "4k", True)), ("full", full("to")))
    ]


def full(part: str) -> Callable[[Path], None]:
    """A disk at ``part`` that has no byte left."""

    def confine(here: Path) -> None:
        disk(part, "8k")(here)
        (here / part / "rest").write_bytes(bytes(8192))

    return confine


def rows(shared: Path) -> list[Trial]:
    """All that this machine allows."""
    if not may_mount():
        return of_limits()
    return [*of_limits(), *of_runs(finished(TRANSFER, shared / "disks")), *of_other_commands()]
