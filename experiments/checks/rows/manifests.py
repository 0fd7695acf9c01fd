"""Manifests, their headers, and the prompts that a manifest is written from, damaged one way each."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from experiments.checks.clips import pattern, write
from experiments.checks.fork import ROOT
from experiments.checks.rows.small import DRY
from experiments.checks.trial import HERE, Expect, Outcome, Trial

ODD = ROOT / "experiments" / "checks" / "odd"
HEADER = {"name": "bench", "version": 1, "license": "own", "defaults": {"seeds": [0, 3]}}
PROMPTS = {"a": {"category": "camera", "prompts": [{"id": "cat", "text": "a cat"}]}}
WRITER = ("manifest", f"{HERE}/clips", f"{HERE}/prompts.yaml", f"{HERE}/b.jsonl", "--license", "own")
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old}]\n"
    for old, new in zip("abcd", "bcde", strict=True)
)
"""Aliases that would unfold to 59,049 words."""
WRONG: dict[str, list[Any]] = {
    "id": [..., "", 5, None, [], "../x", "a/b", "a b", "x" * 300, ".", "ä", "[/red]"],
    "video": [..., "", 5, None, [], "../../x.mp4", "/nowhere/x.mp4", "clips", "gone.mp4", "a\0b", "x" * 5000],
    "sha256": [..., "", "0" * 64, 5, None, "xyz", [1]],
    "fps": [..., 0, -1, "abc", None, [], "inf", "nan", 1e300, True, 25],
    "size": [..., [], [64], [64, 96, 3], "64x96", [0, 0], [-64, 96], [1e300, 1], [64.5, 96], ["a", "b"], [96, 64], 64],
    "category": [..., "", "abc", 5, None, []],
    "prompts": [
        ...,
        [],
        "a dog",
        ["a dog"],
        {"id": "x"},
        [{"id": "x"}],
        [{"text": "a dog"}],
        [{"id": "x", "text": ""}],
        [{"id": "x", "text": 5}],
        [{"id": "x", "text": None}],
        [{"id": 5, "text": "a dog"}],
        [{"id": "x", "text": "a", "foo": 1}],
        [{"id": "x", "text": "a", "kind": "abc"}],
        [{"id": "x", "text": "a", "negative": 5}],
        [{"id": "x", "text": "a"}] * 2,
        [None],
        5,
    ],
    "seeds": [[], "0", 0, [0, 0], [-1], ["a"], [0.5], [True], [10**30], [2**32], None],
    "frames": [
        5,
        "x",
        [],
        {"start": -1},
        {"start": "a"},
        {"start": 1e9},
        {"num": 1},
        {"num": 10**9},
        {"stride": 0},
        {"foo": 1},
    ],
    "frame_policy": ["abc", 5, None, []],
    "mask": ["gone", "../../x", 5, "", "clips/a.mp4"],
    "split": ["abc", 5, None],
    "origin": ["abc", None],
    "tags": ["abc", 5, [5]],
    "source_prompt": [5, None, []],
    "foo": [1],
}
"""Values by key; ``...`` takes the key away."""
LEGAL = {
    ("source_prompt", "None"),
    ("mask", "''"),
    ("frame_policy", "None"),
    ("tags", "'abc'"),
    ("tags", "[5]"),
    ("category", "Ellipsis"),
    ("category", "'abc'"),
    ("prompts", "['a dog']"),
    ("prompts", "[{'text': 'a dog'}]"),
}
"""Of these, what may be read or refused."""


def clip(here: Path) -> dict[str, Any]:
    """One clip and its line."""
    video = write(here / "clips" / "a.mp4", pattern(12))
    return {
        "id": "a",
        "video": "clips/a.mp4",
        "sha256": hashlib.sha256(video.read_bytes()).hexdigest(),
        "fps": 24.0,
        "size": [64, 96],
        "category": "camera",
        "source_prompt": "a square",
        "prompts": [{"id": "cat", "kind": "subject", "text": "a cat"}],
    }


def write_manifest(here: Path) -> Path:
    """A good manifest."""
    file = here / "bench.jsonl"
    file.write_text(json.dumps(clip(here)) + "\n")
    file.with_suffix(".yaml").write_text(yaml.safe_dump(HEADER))
    return file


def encoded(content: Any) -> bytes:
    """Bytes and text as they are, all else as YAML."""
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else yaml.safe_dump(content)).encode()


def command(*more: str) -> tuple[str, ...]:
    """A dry run of the manifest."""
    return (*DRY, "benchmark=manifest", f"benchmark.path={HERE}/bench.jsonl", *more)


def of_lines() -> list[Trial]:
    """One key of the only line."""
    trials = []
    for key, values in WRONG.items():
        for number, value in enumerate(values):

            def prepare(here: Path, key: str = key, value: Any = value) -> None:
                file = write_manifest(here)
                line = clip(here)
                line[key] = value
                file.write_text(json.dumps({k: v for k, v in line.items() if v is not ...}) + "\n")

            names = (key, value[:40]) if isinstance(value, str) and value else (key,)
            expect = Expect.either if (key, repr(value)) in LEGAL else Expect.refuse
            trials.append(Trial("lists", f"manifest_{key}_{number}", command(), expect, names, prepare))
    return trials


def of_bytes() -> list[Trial]:
    """The bytes of the manifest."""
    accept, refuse, either = Expect.accept, Expect.refuse, Expect.either

    def lines(name: str, change: Any, expect: Expect = refuse) -> Trial:
        def prepare(here: Path) -> None:
            file = write_manifest(here)
            file.write_bytes(change(file.read_bytes()))

        return Trial("lists", f"manifest_{name}", command(), expect, ("bench.jsonl", "id"), prepare)

    return [
        lines("good", lambda c: c, accept),
        lines("bom", lambda c: b"\xef\xbb\xbf" + c, accept),
        lines("crlf", lambda c: c.replace(b"\n", b"\r\n"), accept),
        lines("u2028", lambda c: c.replace(b"a cat", "a\u2028cat".encode()), accept),
        lines("u0085", lambda c: c.replace(b"a cat", "a\u0085cat".encode()), accept),
        lines("utf16", lambda c: c.decode().encode("utf-16")),
        lines("latin1", lambda c: c.replace(b"a cat", b"caf\xe9")),
        lines("twice", lambda c: c + c),
        lines("cut", lambda c: c[:-9]),
        lines("empty", lambda c: b""),
        lines("array", lambda c: b"[" + c + b"]"),
        lines("string", lambda c: b'"a"\n'),
        lines("number", lambda c: b"5\n"),
        lines("nan", lambda c: c.replace(b"24.0", b"NaN")),
        lines("infinity", lambda c: c.replace(b"24.0", b"Infinity")),
        lines("deep", lambda c: b"[" * 100000),
        lines("key_twice", lambda c: c.replace(b'"fps"', b'"fps": 24.0, "fps"'), either),
    ]


def of_headers() -> list[Trial]:
    """The header of the manifest."""
    accept, refuse, either = Expect.accept, Expect.refuse, Expect.either

    def header(name: str, content: Any, expect: Expect = refuse, *names: str) -> Trial:
        def prepare(here: Path) -> None:
            write_manifest(here).with_suffix(".yaml").write_bytes(encoded(content))

        return Trial("lists", f"header_{name}", command(), expect, names or ("bench.yaml",), prepare)

    return [
        header("bom", b"\xef\xbb\xbf" + yaml.safe_dump(HEADER).encode(), accept),
        header("empty", ""),
        header("list", "- a\n"),
        header("string", "abc\n"),
        header("number", "5"),
        header("not_yaml", "a: [b\n"),
        header("tab", "name:\tx\n\tversion: 1\n"),
        header("python", "name: !!python/object/apply:os.getcwd []\n"),
        header("bomb", BOMB + "name: x\n"),
        header("unknown", HEADER | {"foo": 1}),
        header("no_name", {"version": 1}),
        header("name_list", HEADER | {"name": ["a"]}, either),
        header("defaults_list", HEADER | {"defaults": [1]}),
        header("defaults_string", HEADER | {"defaults": "abc"}),
        header("defaults_unknown", HEADER | {"defaults": {"foo": 1}}, refuse, "foo"),
        header("defaults_seeds", HEADER | {"defaults": {"seeds": "abc"}}, refuse, "seeds"),
        header("latin1", "name: caf\xe9\n".encode("latin-1")),
        header("nul", b"name: a\0b\n"),
        header("two_documents", "name: a\n---\nname: b\n"),
    ]


def written(here: Path, _outcome: Outcome) -> str | None:
    """The writer wrote the line of the one clip."""
    return None if len((here / "b.jsonl").read_text().splitlines()) == 1 else "the manifest has not one line"


def prompts(name: str, content: Any, expect: Expect = Expect.refuse, *names: str, more: tuple[str, ...] = ()) -> Trial:
    """A trial of the writer with those prompts."""

    def prepare(here: Path) -> None:
        clip(here)
        (here / "prompts.yaml").write_bytes(encoded(content))

    return Trial(
        "lists", f"writer_{name}", (*WRITER, *more), expect, names or ("prompts.yaml", "prompts"), prepare, written
    )


def of_prompts() -> list[Trial]:
    """The file of prompts that the writer reads."""
    accept, refuse = Expect.accept, Expect.refuse

    def one(**keys: Any) -> dict[str, Any]:
        return {"a": PROMPTS["a"] | keys}

    return [
        prompts("good", PROMPTS, accept),
        prompts("bom", b"\xef\xbb\xbf" + yaml.safe_dump(PROMPTS).encode(), accept),
        prompts("string", "abc"),
        prompts("list", "- a"),
        prompts("clip_string", {"a": "a cat"}, accept),
        prompts("clip_list", {"a": ["a cat"]}, accept),
        prompts("clip_number", {"a": 5}),
        prompts("prompts_string", one(prompts="a cat")),
        prompts("prompts_strings", one(prompts=["a cat"]), accept),
        prompts("prompts_number", one(prompts=5)),
        prompts("prompts_map", one(prompts={"cat": "a cat"})),
        prompts("no_text", one(prompts=[{"id": "cat"}]), refuse, "text"),
        prompts("no_id", one(prompts=[{"text": "a cat"}]), accept),
        prompts("fps_word", one(fps="abc"), refuse, "fps"),
        prompts("size_map", one(size={"a": 1}), refuse, "size"),
        prompts("not_yaml", "a: [b\n"),
        prompts("tab", "a:\n\tb: c\n"),
        prompts("python", "a: !!python/object/apply:os.getcwd []\n"),
        prompts("bomb", BOMB),
        prompts("date", "a: {category: camera, prompts: [{id: x, text: 2024-01-01}]}", refuse, "text"),
        prompts("latin1", "a: caf\xe9\n".encode("latin-1")),
    ]


def of_writer_options() -> list[Trial]:
    """Numbers of the writer itself."""
    refuse = Expect.refuse
    return [
        prompts("fps_inf", PROMPTS, Expect.either, "folder-fps", more=("--folder-fps", "inf")),
        prompts("start", PROMPTS, refuse, "start", more=("--start", "-1")),
        prompts("stride", PROMPTS, refuse, "stride", more=("--stride", "0")),
        prompts("frames", PROMPTS, refuse, "num", "frames", more=("--frames", "0")),
        prompts("seeds", PROMPTS, refuse, "seeds", more=("--seeds", "0", "0")),
    ]


def of_odd_prompts() -> list[Trial]:
    """Prompts for a clip of another name, as users write them."""

    def odd(name: str) -> Trial:
        def prepare(here: Path) -> None:
            clip(here)
            (here / "clips" / "a.mp4").rename(here / "clips" / "clip-one.mp4")
            shutil.copy(ODD / f"{name}.yaml", here / "prompts.yaml")

        return Trial("lists", f"writer_odd_{name}", WRITER, Expect.either, ("prompts", "prompts.yaml"), prepare)

    return [
        odd("plain"),
        odd("noid"),
    ]


def rows() -> list[Trial]:
    """All of them."""
    return [*of_lines(), *of_bytes(), *of_headers(), *of_prompts(), *of_writer_options(), *of_odd_prompts()]
