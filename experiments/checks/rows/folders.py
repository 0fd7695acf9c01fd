"""Clips as folders of frames: with gaps, strangers and damaged pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from experiments.checks.clips import pattern, write, write_folder
from experiments.checks.rows.videos import Prepare, row, shown_as
from experiments.checks.trial import Expect, Trial


def frames(here: Path, suffix: str = ".png", count: int = 9) -> Path:
    """A good folder."""
    return write_folder(here / "frames", pattern(count), suffix)


def with_file(name: str, content: bytes) -> Prepare:
    """A good folder in which one file has that content."""
    return lambda here: (frames(here) / name).write_bytes(content)


def of_strangers() -> list[Trial]:
    """Folders whose pictures are good, whatever is beside them."""

    def good(name: str, prepare: Prepare, expect: Expect = Expect.accept) -> Trial:
        check = shown_as(
            lambda here: write(here / "due.mkv", pattern(9), 8.0, "ffv1", "bgr0"), [i / 8 for i in range(5)]
        )
        return row(name, prepare, expect, "frames", check=check)

    return [
        good("frames_png", frames),
        good("frames_jpg", lambda here: frames(here, ".jpg"), Expect.either),
        good("frames_apple", with_file("._0003.png", b"\0\5\26\7 Mac OS X")),
        good("frames_thumbs", with_file("Thumbs.db", b"x")),
        good("frames_hidden", with_file(".DS_Store", b"x")),
        good("frames_text", with_file("readme.txt", b"x")),
    ]


def of_pictures() -> list[Trial]:
    """Folders with gaps, with damaged pictures, and with pictures that are no clip."""

    def bad(name: str, prepare: Prepare, *names: str) -> Trial:
        return row(name, prepare, Expect.refuse, "frames", names=names or ("frames",))

    def renamed(before: str, after: str) -> Prepare:
        return lambda here: (frames(here) / before).rename(here / "frames" / after)

    return [
        bad("frames_gap", lambda here: (frames(here) / "0002.png").unlink(), "0002"),
        bad(
            "frames_two_gaps",
            lambda here: (frames(here), [(here / "frames" / f"000{i}.png").unlink() for i in (2, 5)]),
            "0002",
        ),
        bad(
            "frames_mixed",
            lambda here: (frames(here), Image.fromarray(pattern(1)[0]).save(here / "frames" / "0009.jpg")),
        ),
        bad("frames_double", lambda here: (frames(here), write_folder(here / "frames", pattern(9), ".jpg"))),
        bad("frames_empty_picture", with_file("0003.png", b""), "0003"),
        bad("frames_damaged", with_file("0003.png", b"\x89PNG\r\n\x1a\nxxxx"), "0003"),
        bad("frames_text_picture", with_file("0003.png", b"hello"), "0003"),
        bad(
            "frames_sizes",
            lambda here: (frames(here), Image.fromarray(pattern(1, 32, 32)[0]).save(here / "frames" / "0003.png")),
            "0003",
        ),
        bad("frames_few", lambda here: frames(here, count=3)),
        bad("frames_unnumbered", renamed("0003.png", "last.png")),
        bad("frames_link", lambda here: (frames(here) / "0009.png").symlink_to(here / "gone.png"), "0009"),
        bad("frames_folder_picture", lambda here: (frames(here) / "0009.png").mkdir(), "0009"),
    ]


def rows() -> list[Trial]:
    """All of them."""
    return [*of_strangers(), *of_pictures()]
