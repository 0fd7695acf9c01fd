"""What a run finds on the disk from earlier ones: caches, tuned parameters, records, videos, judges."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from experiments.checks.fork import run_command
from experiments.checks.rows.small import GUIDED, OUT, SIZE, pixels, records
from experiments.checks.trial import HERE, Expect, Outcome, Trial
from experiments.checks.verdict import files
from fastvmt.shipped import shipped_model

AROUND = ("metrics=fast", "logger=none", f"cache_dir={HERE}/cache", OUT)
TRANSFER = ("run", *GUIDED, *AROUND)
TUNED = ("run", "method=motion_inversion", "method.tuning.iterations=3", "sampler.steps=2", *SIZE, *AROUND)
Damage = Callable[[Path], object]


@dataclass(frozen=True)
class Template:
    """A finished run in a folder of its own, to be copied and damaged."""

    command: tuple[str, ...]
    folder: Path
    pixels: dict[str, tuple[object, object]]


def finished(command: tuple[str, ...], folder: Path) -> Template:
    """Run a command in ``folder``; raises ``RuntimeError`` if a clean run fails."""
    folder.mkdir(parents=True)
    out = run_command(command, folder)
    if out.code != 0:
        raise RuntimeError(f"a clean run fails: {out.stderr}")
    return Template(command, folder, pixels(records(folder)))


def bits(seed: int, skip: int = 0) -> Damage:
    """Five changed bits, after ``skip`` bytes."""

    def act(file: Path) -> None:
        dice = random.Random(seed)
        content = bytearray(file.read_bytes())
        for _ in range(5):
            content[dice.randrange(min(skip, len(content) - 1), len(content))] ^= 1 << dice.randrange(8)
        file.write_bytes(content)

    return act


def stored(change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    """Every tensor changed."""

    def act(file: Path) -> None:
        tensors = {name: change(value).contiguous() for name, value in load_file(file).items()}
        save_file(tensors, file)

    return act


def renamed(file: Path) -> None:
    """Every tensor under another name."""
    save_file({f"x{name}": value for name, value in load_file(file).items()}, file)


def blank(value: torch.Tensor) -> torch.Tensor:
    """NaN, or zeros where there is none."""
    return torch.full_like(value, float("nan")) if value.is_floating_point() else torch.zeros_like(value)


def instead(act: Callable[[Path], object]) -> Damage:
    """Something else in the file's place."""
    return lambda file: (file.unlink(), act(file))


def swapped(file: Path) -> None:
    """The content of another key's file, whole and with its own checksum."""
    others = [other for other in sorted(file.parents[1].rglob(f"*{file.suffix}")) if other != file]
    file.write_bytes(others[0].read_bytes())


FILE: dict[str, Damage] = {
    "bits_a": bits(0, 400),
    "bits_b": bits(1, 400),
    "bits_head": bits(2),
    "cut_half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "cut_end": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("hello"),
    "folder": instead(Path.mkdir),
    "full_folder": instead(lambda file: (file.mkdir(), (file / "x").write_text("x"))),
    "broken_link": instead(lambda file: file.symlink_to(file.parent / "gone")),
    "loop": instead(lambda file: file.symlink_to(file)),
}
TENSORS: dict[str, Damage] = {
    "nan": stored(blank),
    "shorter": stored(lambda value: value[:1] if value.ndim else value),
    "flat": stored(torch.flatten),
    "whole": stored(lambda value: value.to(torch.int32)),
    "renamed": renamed,
    "swapped": swapped,
}
RECORD: dict[str, Damage] = {
    "map": lambda file: file.write_text("{}"),
    "list": lambda file: file.write_text("[1]"),
    "null": lambda file: file.write_text("null"),
    "latin1": lambda file: file.write_bytes(b'{"id": "caf\xe9"}'),
    "deep": lambda file: file.write_text("[" * 100000),
    "no_scores": lambda file: edited(file, scores=...),
    "no_seconds": lambda file: edited(file, seconds=...),
    "no_cost": lambda file: edited(file, cost=...),
    "scores_text": lambda file: edited(file, scores={"motion_fidelity": "good"}),
    "other_score": lambda file: edited(file, scores={"motion_fidelity": 1.0}),
    "other_frames": lambda file: edited(file, frames_sha256={"generated": "0" * 64, "reference": "0" * 64}),
}


def edited(file: Path, **values: Any) -> None:
    """Change keys of a record; ``...`` takes a key away."""
    content = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def same(template: Template, videos: bool = False) -> Callable[[Path, Outcome], str | None]:
    """A check that results, and the files of videos too, are those of the clean run."""

    def check(here: Path, _outcome: Outcome) -> str | None:
        if pixels(records(here)) != template.pixels:
            return "frames or scores differ from the clean run's"
        due, found = (files(folder / "out" / "cases") for folder in (template.folder, here))
        apart = [name for name in due if name.endswith(".mp4") and found.get(name) != due[name]]
        return f"{apart[0]} differs from the clean run's" if videos and apart else None

    return check


def damaged(template: Template, name: str, file: str, damage: Damage, fresh: bool) -> Trial:
    """The run again after one file was damaged; ``fresh`` takes away its results first."""

    def prepare(here: Path) -> None:
        for part in ("out", "cache"):
            shutil.copytree(template.folder / part, here / part, symlinks=True)
        damage(here / file)
        if fresh:
            shutil.rmtree(here / "out")

    names = (Path(file).name, "cache_dir", Path(file).stem)
    return Trial("stores", name, template.command, Expect.either, names, prepare, same(template, not fresh))


def of_caches(template: Template, label: str) -> list[Trial]:
    """Every file of the cache."""
    trials = []
    seen = set()
    for file in sorted((template.folder / "cache").rglob("*.safetensors")):
        place = str(file.relative_to(template.folder))
        kind = "_".join((label, file.parent.name, str(len(seen))))
        seen.add(place)
        trials += [damaged(template, f"{kind}_{n}", place, act, True) for n, act in (FILE | TENSORS).items()]
    return trials


def of_results(template: Template) -> list[Trial]:
    """Every file of a finished run."""
    case = next((template.folder / "out" / "cases").iterdir()).relative_to(template.folder)
    trials = []
    for name, more in (("case.json", RECORD), ("generated.mp4", {}), ("reference.mp4", {})):
        damages = FILE | more | {"gone": Path.unlink}
        trials += [damaged(template, f"{name}_{n}", f"{case}/{name}", act, False) for n, act in damages.items()]
    for name in ("result.json", "config.yaml"):
        trials += [damaged(template, f"{name}_{n}", f"out/{name}", act, False) for n, act in FILE.items()]
    return trials


def of_other_settings(template: Template) -> list[Trial]:
    """Other settings, or the same again, in a finished folder."""

    def prepare(here: Path) -> None:
        shutil.copytree(template.folder / "out", here / "out")

    def again(name: str, expect: Expect, *more: str) -> Trial:
        command = (*template.command, *more)
        return Trial("stores", name, command, expect, ("output_dir",), prepare, kept="out/cases")

    return [
        again("same_again", Expect.accept),
        again("other_seed", Expect.refuse, "seed=1"),
        again("other_rate", Expect.refuse, "guidance.lr=0.02"),
        again("other_method", Expect.refuse, "method=none"),
        again("other_scores", Expect.refuse, "metrics=none"),
        again("more_cases", Expect.accept, "benchmark.cases=2"),
        again("other_device", Expect.accept, "device=auto"),
    ]


def of_judges() -> list[Trial]:
    """A judge's file that is replaced after a run was scored with it."""
    command = (*TRANSFER, f"metrics.clip.model={HERE}/clip")

    def prepare(here: Path) -> None:
        shutil.copytree(shipped_model("tiny-clip"), here / "clip")
        run_command(command, here)
        weights = next((here / "clip").glob("*.safetensors"))
        stored(lambda value: value.flip(0) if value.is_floating_point() and value.ndim > 1 else value)(weights)

    def check(here: Path, _outcome: Outcome) -> str | None:
        found = pixels(records(here))
        shutil.rmtree(here / "out")
        run_command(command, here)
        return None if pixels(records(here)) == found else "the old judge's score is kept"

    return [Trial("stores", "judge_replaced", command, Expect.either, ("clip", "output_dir"), prepare, check)]


def rows(shared: Path) -> list[Trial]:
    """All of them; ``shared`` holds the clean runs."""
    transfer, tuned = finished(TRANSFER, shared / "transfer"), finished(TUNED, shared / "tuned")
    return [
        *of_caches(transfer, "transfer"),
        *of_caches(tuned, "tuned"),
        *of_results(transfer),
        *of_other_settings(transfer),
        *of_judges(),
    ]
