"""Videos: damaged ones, and odd ones that players show well."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.checks.clips import covered, pattern, read, write, write_animation
from experiments.checks.fork import ROOT
from experiments.checks.rows.small import PLAIN, QUIET, SIZE, VIDEO, records
from experiments.checks.trial import HERE, Expect, Outcome, Trial

ODD = ROOT / "experiments" / "checks" / "odd"
CLOSER = 0.3
"""A frame that is shown must be as near to the one expected as to any other, up to this mean difference of 255."""
NEAR = 14.0
"""Largest mean difference of a frame to the one expected, of 255: resizing and colour conversion differ a little."""
Prepare = Callable[[Path], object]
FLAT = ("run", "method=none", "sampler.steps=1", "metrics=fast", *SIZE, *QUIET, "prompt=a dog on grass")


def shown_as(source: Callable[[Path], Path], times: Sequence[float]) -> Callable[[Path, Outcome], str | None]:
    """A check that the run took the frames that a player shows at ``times``."""

    def check(here: Path, _outcome: Outcome) -> str | None:
        shown, at = read(source(here))
        case = next((here / "out" / "cases").iterdir())
        taken, _ = read(case / "reference_lossless.mp4")
        picture = covered(shown, *taken.shape[1:3])
        for t, frame in zip(times, taken, strict=True):
            apart = [float(np.abs(frame.astype(np.float32) - other).mean()) for other in picture]
            wanted = max((i for i, moment in enumerate(at) if moment <= t + 1e-3), default=0)
            if apart[wanted] > NEAR or apart[wanted] > min(apart) + CLOSER:
                off, like = apart[wanted], int(np.argmin(apart))
                return f"at {t:.3f} s frame {wanted} is due and {off:.0f} off, taken is one like frame {like}"
        return None

    return check


def not_scored_well(here: Path, _outcome: Outcome) -> str | None:
    """A clip without motion to see has no motion fidelity."""
    value = records(here)[0]["scores"].get("motion_fidelity")
    return None if value is None else f"motion_fidelity is {value:.3f}"


def damaged(change: Callable[[bytes], bytes]) -> Prepare:
    """A good clip with its bytes changed."""

    def prepare(here: Path) -> None:
        file = write(here / "clip.mp4", pattern(24))
        file.write_bytes(change(file.read_bytes()))

    return prepare


def flipped(seed: int, count: int) -> Callable[[bytes], bytes]:
    """Change bits at random places."""

    def change(content: bytes) -> bytes:
        dice = random.Random(seed)
        found = bytearray(content)
        for _ in range(count):
            found[dice.randrange(len(found))] ^= 1 << dice.randrange(8)
        return bytes(found)

    return change


def copied(name: str) -> Callable[[Path], object]:
    """One of the files beside this package."""
    return lambda here: shutil.copy(ODD / name, here / name)


def row(
    name: str,
    prepare: Prepare,
    expect: Expect,
    file: str = "clip.mp4",
    *more: str,
    names: tuple[str, ...] = (),
    check: Callable[[Path, Outcome], str | None] | None = None,
    base: tuple[str, ...] = (*PLAIN, *VIDEO),
) -> Trial:
    """A run on ``file``, which ``prepare`` has written."""
    command = (*base, f"video={HERE}/{file}", *more)
    return Trial("videos", name, command, expect, names or (file.split("/")[-1],), prepare, check)


def of_odd_files() -> list[Trial]:
    """Files that players show and readers often get wrong."""
    accept, refuse, either = Expect.accept, Expect.refuse, Expect.either

    def like(name: str, times: Sequence[float]) -> Callable[[Path, Outcome], str | None]:
        return shown_as(lambda here: here / name, times)

    five = [i / 24 for i in range(5)]
    return [
        row("rotated", copied("rot90.mov"), accept, "rot90.mov", check=like("rot90.mov", five)),
        row("trimmed", copied("trimmed.mp4"), accept, "trimmed.mp4", check=like("trimmed.mp4", five)),
        row(
            "trimmed_end",
            copied("trimmed.mp4"),
            refuse,
            "trimmed.mp4",
            "start=14",
            names=("start", "frames", "trimmed"),
        ),
        row("trimmed_17", copied("trimmed.mp4"), refuse, "trimmed.mp4", "backbone.frames=17", names=("frames",)),
        row("vfr", copied("vfr.mp4"), accept, "vfr.mp4", "fps=4", check=like("vfr.mp4", [0, 0.25, 0.5, 0.75, 1.0])),
        row("anamorphic", copied("anamorphic.mp4"), accept, "anamorphic.mp4", check=like("anamorphic.mp4", five)),
        row("gif", copied("anim.gif"), accept, "anim.gif", check=like("anim.gif", [0, 0.08, 0.17, 0.25, 0.33])),
        row("raw_h264", copied("raw.h264"), either, "raw.h264", check=like("raw.h264", [i / 25 for i in range(5)])),
        row("audio_only", copied("audio_only.mp4"), refuse, "audio_only.mp4", names=("no video",)),
        *(
            row(f"flipped_{name}_{seed}", changed_copy(name, seed), either, name)
            for name in ("rot90.mov", "trimmed.mp4", "vfr.mp4", "anim.gif")
            for seed in range(2)
        ),
    ]


def changed_copy(name: str, seed: int) -> Prepare:
    """An odd file with eight bits changed."""

    def prepare(here: Path) -> None:
        (here / name).write_bytes(flipped(seed, 8)((ODD / name).read_bytes()))

    return prepare


def of_containers() -> list[Trial]:
    """The same pattern in other containers, sizes and formats of pixels."""
    five = [i / 24 for i in range(5)]

    def form(name: str, *more: str, codec: str | None = None, pixels: str = "yuv420p", fps: float = 24.0) -> Trial:
        check = shown_as(lambda here: here / name, [i / fps for i in range(5)])
        label = "_".join([name, codec or "", pixels, f"{fps:g}"])

        def prepare(here: Path) -> object:
            return write(here / name, pattern(), fps, codec, pixels)

        return row(label, prepare, Expect.accept, name, *more, check=check)

    def sized(height: int, width: int, expect: Expect = Expect.accept) -> Trial:
        check = shown_as(lambda here: here / "clip.mp4", five)

        def prepare(here: Path) -> object:
            return write(here / "clip.mp4", pattern(12, height, width), pixels="yuv444p")

        return row(f"{height}x{width}", prepare, expect, check=check)

    def animation(name: str, expect: Expect) -> Trial:
        def due(here: Path) -> Path:  # FFmpeg reads no animated WebP
            return here / name if name != "clip.webp" else write(here / "due.mkv", pattern(), 12.5, "ffv1", "bgr0")

        check = shown_as(due, [0.08 * i for i in range(5)])
        return row(name, lambda here: write_animation(here / name, pattern()), expect, name, check=check)

    return [
        *(form(f"clip{suffix}") for suffix in (".mp4", ".mov", ".mkv", ".ts", ".webm", ".avi")),
        form("clip.h264"),
        form("clip.mp4", codec="mpeg4"),
        form("clip.mkv", codec="ffv1", pixels="yuv444p"),
        form("clip.mkv", codec="mjpeg", pixels="yuvj420p"),
        form("clip.mp4", pixels="yuv444p"),
        form("clip.mp4", pixels="yuv420p10le"),
        form("clip.mp4", fps=1.0),
        form("clip.mp4", fps=23.976),
        form("clip.mp4", fps=240.0),
        *(sized(*size) for size in ((47, 33), (16, 640), (640, 16), (480, 854))),
        sized(2, 2, Expect.either),
        animation("clip.gif", Expect.accept),
        animation("clip.webp", Expect.either),
        animation("clip.png", Expect.either),
    ]


def of_damage() -> list[Trial]:
    """Files that are cut short, changed or of another kind."""
    refuse, either = Expect.refuse, Expect.either
    shares = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)
    whole = shown_as(lambda here: write(here / "whole.mp4", pattern(24)), [i / 24 for i in range(5)])
    return [
        *(row(f"cut_{s}", damaged(lambda c, s=s: c[: int(len(c) * s)]), refuse) for s in shares),
        row("cut_0.99", damaged(lambda c: c[: int(len(c) * 0.99)]), either, check=whole),  # tags are at the end
        *(row(f"bits_{n}_{seed}", damaged(flipped(seed, n)), either) for n in (1, 20, 400) for seed in range(6)),
        row("middle_zeros", damaged(lambda c: c[: len(c) // 3] + bytes(len(c) // 3) + c[2 * len(c) // 3 :]), either),
        row("head_gone", damaged(lambda c: c[40:]), refuse),
        row("twice", damaged(lambda c: c + c), either),
        row("empty", damaged(lambda c: b""), refuse),
        row("zeros", damaged(lambda c: bytes(5000)), refuse),
        row("text", damaged(lambda c: b"not a video\n" * 9), refuse),
        row("html", damaged(lambda c: b"<!DOCTYPE html><html><body>404</body></html>"), refuse),
        row(
            "pointer", damaged(lambda c: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), refuse
        ),
    ]


def of_no_files() -> list[Trial]:
    """Nothing where the video is due, or a folder or a link that leads nowhere."""
    refuse = Expect.refuse
    return [
        row("missing", lambda here: None, refuse, names=("video",)),
        row("empty_folder", lambda here: (here / "clip.mp4").mkdir(), refuse),
        row("folder_of_text", lambda here: text_folder(here / "clip.mp4"), refuse),
        row("link_to_itself", lambda here: (here / "clip.mp4").symlink_to(here / "clip.mp4"), refuse),
        row("broken_link", lambda here: (here / "clip.mp4").symlink_to(here / "gone.mp4"), refuse),
    ]


def of_few_frames() -> list[Trial]:
    """Videos with fewer frames than are asked for."""
    refuse = Expect.refuse
    return [
        row(
            "picture",
            lambda here: Image.fromarray(pattern(1)[0]).save(here / "clip.mp4", "PNG"),
            refuse,
            names=("backbone.frames",),
        ),
        row("one_frame", lambda here: write(here / "clip.mp4", pattern(1)), refuse, names=("frame",)),
        row(
            "one_frame_padded",
            lambda here: write(here / "clip.mp4", pattern(1)),
            Expect.either,
            "clip.mp4",
            "frame_policy=pad_last",
        ),
        row("too_short", lambda here: write(here / "clip.mp4", pattern(4)), refuse, names=("frames",)),
        row(
            "start_beyond",
            lambda here: write(here / "clip.mp4", pattern(9)),
            refuse,
            "clip.mp4",
            "start=9",
            names=("start",),
        ),
        row(
            "fps_too_slow",
            lambda here: write(here / "clip.mp4", pattern(9)),
            refuse,
            "clip.mp4",
            "fps=0.001",
            names=("fps", "frames"),
        ),
    ]


def text_folder(folder: Path) -> None:
    """A folder with no picture in it."""
    folder.mkdir()
    (folder / "readme.txt").write_text("no pictures")


def of_stillness() -> list[Trial]:
    """Clips without motion: a score of motion would be a lie."""
    black = np.zeros((9, 64, 96, 3), np.uint8)

    def still(name: str, frames: np.ndarray) -> Trial:

        def prepare(here: Path) -> object:
            return write(here / "clip.mp4", frames, codec="libx264rgb", pixels="rgb24")

        return row(name, prepare, Expect.either, base=FLAT, check=not_scored_well)

    return [
        still("black", black),
        still("white", black + 255),
        still("grey", black + 127),
        still("constant_colour", black + np.array([200, 30, 90], np.uint8)),
        still("gradient", black + np.linspace(0, 255, 96).astype(np.uint8)[:, None]),
        still("blinking", black + (np.arange(9) % 2 * 255).astype(np.uint8)[:, None, None, None]),
    ]


def rows() -> list[Trial]:
    """All of them."""
    return [
        *of_odd_files(),
        *of_containers(),
        *of_damage(),
        *of_no_files(),
        *of_few_frames(),
        *of_stillness(),
    ]
