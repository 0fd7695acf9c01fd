"""Prompts and paths with everything that shells, Hydra and rich give a meaning to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

from experiments.checks.clips import pattern, write
from experiments.checks.rows.small import DRY, PLAIN
from experiments.checks.trial import HERE, Expect, Outcome, Trial

PROMPTS = [
    "a dog, on grass",
    "a dog's bone",
    'a "dog" on grass',
    "it's a \"dog's\" life",
    "'quoted'",
    '"quoted"',
    "a café",
    "ein Mädchen, groß",
    "一只狗在草地上",
    "犬が走る。",
    "강아지",
    "собака бежит",
    "كلب على العشب",
    "a 🐕 on grass",
    "a dog — running – fast",
    "a dog; a cat",
    "a dog? yes!",
    "a dog & a cat",
    "a dog = a friend",
    "a #1 dog",
    "#dog",
    "a dog (brown)",
    "a dog [brown]",
    "[red]a dog[/red]",
    "a dog {brown}",
    "{a: dog}",
    "a $dog",
    "${seed}",
    "a ${env:HOME} dog",
    "${oc.env:HOME}",
    "\\${seed}",
    "a dog\\",
    "a\\dog",
    "a dog\\\\",
    "a dog's \\",
    "a: dog",
    "dog: yes",
    "a dog | a cat",
    "a <dog>",
    "<b>a dog</b>",
    "a * dog",
    "~dog",
    "@dog",
    "`dog`",
    "100% dog",
    "%s %d",
    "a dog  with  spaces",
    "tab\tdog",
    "two\nlines",
    "true",
    "null dog",
    "nan",
    "1e5",
    "12",
    "-1",
    "--help me",
    "-m dog",
    "a/b\\c",
    "a,b,c",
    "[a, b]",
    "choice(a,b)",
    "range(1,3)",
    "a dog\u2028on grass",
    "a\u200bdog",
    "a\u202edog",
    "dog\u0301",
    "A" * 2000,
]
NAMES = [
    "my clip.mp4",
    "clip's.mp4",
    'clip"x".mp4',
    "clip=1.mp4",
    "clip,1.mp4",
    "clip[1].mp4",
    "clip{1}.mp4",
    "clip(1).mp4",
    "clip$1.mp4",
    "${clip}.mp4",
    "clip#1.mp4",
    "clip;1.mp4",
    "clip&1.mp4",
    "clip!.mp4",
    "clip%20.mp4",
    "clip\\1.mp4",
    "über.mp4",
    "犬.mp4",
    "🐕.mp4",
    "-clip.mp4",
    "~clip.mp4",
    "[red]clip.mp4",
    "clip.tar.mp4",
    ".clip.mp4",
    "clip",
    "a" * 200 + ".mp4",
]
MARKUP = ["[/red]", "[bold]a dog", "[link=x]a dog", "[a dog]", "a [/] dog", "\\[/red] dog", "a :dog: on grass"]
FOLDERS = ["my runs", "it's", "a=b", "a,b", "[x]", "{x}", "$x", "ü", "🐕", "#1", "a;b", "[red]x[/red]"]


def recorded(key: str, text: str) -> Callable[[Path, Outcome], str | None]:
    """A check that the run's configuration holds exactly ``text``."""

    def check(here: Path, _outcome: Outcome) -> str | None:
        file = next(f for f in (here / "out" / "config.yaml", here / "out" / ".hydra" / "config.yaml") if f.exists())
        said = OmegaConf.select(OmegaConf.load(file), key)
        wanted = text.replace(HERE, str(here))
        quoted = len(wanted) > 1 and wanted[0] == wanted[-1] and wanted[0] in "'\""  # as a sweep would need it
        return None if said == wanted or (quoted and said == wanted[1:-1]) else f"recorded is {said!r}"

    return check


def clip_at(name: str) -> Callable[[Path], None]:
    """A small clip under that name."""

    def prepare(here: Path) -> None:
        write(here / "x.mp4", pattern()).rename(here / name)

    return prepare


def rows() -> list[Trial]:
    """Prompts, names of clips, markup in finished runs, folders for results."""
    clip = f"video={HERE}/clip.mp4"
    prepare = clip_at("clip.mp4")
    trials = []
    for key in ("prompt", "negative_prompt", "reference_prompt"):
        texts = PROMPTS if key == "prompt" else PROMPTS[::6]
        prompt = () if key == "prompt" else ("prompt=a dog",)
        for number, text in enumerate(texts):
            command = (*DRY, clip, *prompt, f"{key}={text}")
            check = recorded(key, text)
            trials.append(Trial("words", f"{key}_{number}", command, Expect.accept, (), prepare, check))
    for number, name in enumerate(NAMES):
        video = f"{HERE}/{name}"
        command = (*DRY, "prompt=a dog", f"video={video}")
        check = recorded("video", video)
        trials.append(Trial("words", f"video_{number}", command, Expect.accept, (), clip_at(name), check))
    for number, text in enumerate(MARKUP):
        command = (*PLAIN, clip, f"prompt={text}")
        trials.append(Trial("words", f"markup_{number}", command, Expect.accept, (), prepare, recorded("prompt", text)))
    for number, name in enumerate(FOLDERS):
        quoted = "'" + name.replace("'", "\\'") + "'"
        command = (*(word for word in DRY if not word.startswith("output_dir=")), f"output_dir={quoted}")
        trials.append(Trial("words", f"output_dir_{number}", command, Expect.either, ("output_dir",)))
    return trials
