"""Is the page of a large study quickly written and seen, and do its parts do what they say in a browser?

``python -m experiments.checks.report_page --browser CHROMIUM`` makes a sweep of two rows of one case, repeats the case
until each row has as many as ``--cases`` says, one with a hostile prompt, and writes the page: its seconds, and what it
has from outside. In a headless Chromium it then measures the first paint, errors, requests, how far videos on the one
clock are from each other, sorting, and whether hostile words stay words; without ``--browser`` none of that. The record
goes to ``outputs/``, with ``--commit`` to ``experiments/results/``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments import command_line
from experiments.checks.browser import Page, opened
from fastvmt.files import read_json, write_json
from fastvmt.results.folder import RunFolder
from fastvmt.results.provenance import provenance

ROOT = Path(__file__).parents[2]
SMALL = ("backbone.frames=33", "backbone.height=48", "backbone.width=48", "sampler.steps=2", "guidance.iterations=1")
FIXED = ("-m", "window.l=3,5", "skip.delta=1", "guidance.fraction=0.5", "metrics=fast", "logger=none")
HOSTILE = """</script><script>owned = 1</script><img src=x onerror="owned = 1">"""
OUTSIDE = re.compile(r"https?://|@import|(?:src|href|poster|action)=\W?//", re.IGNORECASE)
LONGEST_WRITE, LONGEST_PAINT = 10.0, 3.0
"""Seconds."""
PAINT = """new Promise((done) => {
  new PerformanceObserver((list) => done(list.getEntries()[0].startTime)).observe({ type: "paint", buffered: true });
})"""
SORT = """(() => {
  const head = document.querySelectorAll("#cases .sortable th button")[4];
  const values = () => [...head.closest("table").tBodies[0].rows].map((row) => Number(row.cells[4].dataset.value));
  head.click();
  const up = values();
  head.click();
  return [up, values()];
})()"""
PLAY = """(async () => {
  const videos = [...document.querySelectorAll(".case")[1].querySelectorAll("video")];
  videos[0].scrollIntoView({ block: "center" });
  await new Promise((done) => setTimeout(done, 500));
  document.getElementById("play").click();
  await new Promise((done) => setTimeout(done, 3000));
  const found = [];
  for (let i = 0; i < 30; i += 1) {
    await new Promise((done) => setTimeout(done, 50));
    found.push(videos.map((video) => video.currentTime));
  }
  document.getElementById("play").click();
  return { places: found, frames: Number(videos[0].dataset.frames), fps: Number(videos[0].dataset.fps) };
})()"""
WORDS = """[document.querySelectorAll("script").length, typeof owned,
  document.querySelectorAll(".case h3")[0].textContent]"""


def run(words: Sequence[str]) -> dict[str, float]:
    """Run Python on ``words``; its seconds. Raises ``ValueError`` if it fails."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"{words[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_seconds": time.monotonic() - began, "cpu_seconds": cpu}


def multiply(row: Path, cases: int, dice: random.Random) -> None:
    """Repeat the one case of a run, with scores and prompts of its own each, the first prompt a hostile one."""
    folder = RunFolder(row)
    result = read_json(row / "result.json")
    (record,) = folder.records()
    files = folder.case(record.id)
    records = []
    for i in range(cases):
        case = folder.case(f"clip{i}/p0/s0")
        case.generated.parent.mkdir(parents=True)
        for file in (files.generated, files.reference, files.motion, files.trace):
            os.link(file, case.generated.parent / file.name)
        hashes = {name: f"{value}{i}" for name, value in record.frames_sha256.items()}  # a poster for each
        scores = record.scores | {"motion_fidelity": dice.uniform(0.2, 0.8)}
        prompt = HOSTILE if i == 0 else f"{record.prompt} {i}"
        records.append(replace(record, id=f"clip{i}/p0/s0", prompt=prompt, scores=scores, frames_sha256=hashes))
    write_json(row / "result.json", result | {"cases": [each.to_json() for each in records]})


def make_study(folder: Path, cases: int) -> None:
    """Make a study of two rows of as many cases each."""
    places = [f"output_dir={folder}", "cache_dir=null"]
    run([str(ROOT / "run.py"), *FIXED, *SMALL, *places])
    dice = random.Random(0)
    for row in sorted((folder / "rows").iterdir()):
        multiply(row, cases, dice)


def apart(found: dict[str, Any]) -> float:
    """The largest distance of two videos at one moment, in frames; they loop."""
    length = found["frames"] / found["fps"]
    gaps = [abs(a - b) for places in found["places"] for a in places for b in places]
    return float(max(min(gap, length - gap) for gap in gaps) * found["fps"])


def requests(page: Page) -> list[str]:
    """Every address that the page has asked for."""
    return [str(each["request"]["url"]) for each in page.of_kind("Network.requestWillBeSent")]


def errors(page: Page) -> list[str]:
    """What the browser's console calls errors."""
    told = [each for each in page.of_kind("Runtime.consoleAPICalled") if each["type"] == "error"]
    told += page.of_kind("Runtime.exceptionThrown")
    told += [each["entry"] for each in page.of_kind("Log.entryAdded") if each["entry"]["level"] == "error"]
    return [json.dumps(each)[:500] for each in told]


def seen(html: Path, browser: Path) -> dict[str, Any]:
    """What a browser makes of the page. Raises ``OSError`` or ``ValueError`` where it makes nothing of it."""
    with opened(browser) as page:
        version = page.ask("Browser.getVersion")["product"]
        page.ask("Page.navigate", url=html.resolve().as_uri())
        page.wait("Page.loadEventFired")
        paint = page.evaluate(PAINT) / 1000
        up, down = page.evaluate(SORT)
        scripts, owned, words = page.evaluate(WORDS)
        played = page.evaluate(PLAY)
        moved = [max(places) for places in zip(*played["places"], strict=True)]
        return {
            "browser": version,
            "first_paint_seconds": paint,
            "sorts": up == sorted(up) and down == sorted(down, reverse=True) and up != down,
            "hostile_words_stay_words": (scripts, owned) == (2, "undefined") and words.startswith(HOSTILE),
            "videos": len(moved),
            "videos_play": min(moved) > 0,
            "frames_apart": apart(played),
            "errors": errors(page),
            "outside_requests": [each for each in requests(page) if not each.startswith(("file:", "data:", "about:"))],
        }


def failures(found: dict[str, Any]) -> list[str]:
    """Name what is not as it should be; what was not measured is no failure."""
    page = found["in_browser"]
    checks = {"write": found["write"]["cpu_seconds"] < LONGEST_WRITE, "outside_addresses": not found["outside"]}
    if page is not None:
        checks |= {name: page[name] for name in ("sorts", "hostile_words_stay_words", "videos_play")}
        checks |= {name: not page[name] for name in ("errors", "outside_requests")}
        checks |= {"first_paint": page["first_paint_seconds"] < LONGEST_PAINT, "frames_apart": page["frames_apart"] < 1}
    return [name for name, good in checks.items() if not good]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=command_line.count, default=500, help="of each of both rows")
    parser.add_argument("--browser", type=Path, metavar="PATH", help="a Chromium that can be headless")
    command_line.add_results(parser)
    arguments = parser.parse_args(words)
    if arguments.browser is not None and not arguments.browser.is_file():
        raise ValueError(f"--browser {arguments.browser}: there is no such file")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        make_study(folder, arguments.cases)
        write = run(["-m", "fastvmt.report", str(folder)])
        html = folder / "report" / "index.html"
        text = html.read_text(encoding="utf-8")
        found: dict[str, Any] = {
            "cases": arguments.cases,
            "rows": 2,
            "write": write,
            "again": run(["-m", "fastvmt.report", str(folder)]),
            "bytes": len(text.encode()),
            "outside": OUTSIDE.findall(text),
            "in_browser": None if arguments.browser is None else seen(html, arguments.browser),
        }
    found["failures"] = failures(found)
    write_json(arguments.results / "report_page.json", found | {"provenance": provenance()})
    browser = found["in_browser"] or "not measured: --browser was not given"
    sys.stdout.write(f"written in {write}\nin a browser: {browser}\nfailures: {found['failures']}\n")
    if found["failures"]:
        raise SystemExit(1)


if __name__ == "__main__":
    command_line.run(main)
