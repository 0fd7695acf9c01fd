"""A study with videos, and what a browser would see of its page."""

from __future__ import annotations

from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import torch
from PIL import Image

from fastvmt.data.video import write_video
from fastvmt.files import file_sha256
from fastvmt.results.folder import RunFolder
from fastvmt.types import Video
from helpers.records import case_record
from helpers.studies import write_run

VOID = ("meta", "link", "input", "img", "br")
TRACE = "step,sigma,iteration,loss\n0,1.0,0,4.0\n0,1.0,1,2.0\n1,0.9,0,1.0\n1,0.9,1,0.5\n"


class Seen(HTMLParser):
    """Elements in their order, and the words of every section."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.words: defaultdict[str | None, str] = defaultdict(str)
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        for _, name in self.open:
            self.words[name] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def addresses(self) -> list[str]:
        """Everything that a browser could fetch."""
        names = ("href", "src", "poster", "data-src", "data-poster", "action", "srcset")
        return [value for _, each in self.elements for name, value in each.items() if name in names and value]

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """The elements with the names of their attributes."""
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]


def clip(shade: int) -> Video:
    """A small clip of one colour."""
    return Video(torch.full((3, 16, 16, 3), shade, dtype=torch.uint8), 8.0)


def write_study(folder: Path, prompt: str = "a dog on grass") -> Path:
    """Two rows over ``window.l`` of two cases with all their files; in the second row one case has no picture."""
    for job, l in enumerate(("3", "5")):
        run = folder / "rows" / f"l={l}"
        records = []
        for i in range(2):
            case = RunFolder(run).case(f"r{i}/p0/s0")
            write_video(case.reference, clip(10 * i))
            write_video(case.generated, clip(100 + 50 * job + 10 * i))
            case.trace.write_text(TRACE)
            if (job, i) != (1, 1):
                Image.new("RGB", (8, 8)).save(case.motion)
            hashes = {"generated": f"{l} {i}", "reference": str(i)}
            files = {file.name: file_sha256(file) for file in (case.reference, case.generated)}
            scores = {"motion_fidelity": 0.5 + 0.1 * i - 0.2 * job * i}
            records.append(
                case_record(f"r{i}/p0/s0", prompt=prompt, frames=3, files=files, frames_sha256=hashes, scores=scores)
            )
        write_run(run, [f"window.l={l}"], records, {"window.l": l}, job, window={"l": int(l)})
    return folder
