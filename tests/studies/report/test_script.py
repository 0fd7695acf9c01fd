"""The page's script, in Node where there is one: its syntax, and the functions that need no browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import fastvmt.studies.report

SCRIPT = Path(fastvmt.studies.report.__path__[0]) / "page.js"
NODE = shutil.which("node")
CLOCK = """
const code = require("fs").readFileSync(process.argv[1], "utf8");
let now = 0;
class Video { // plays at a rate of its own, from 0.2 s after it is asked to, and a seek takes 40 ms
  constructor(rate, frames) {
    Object.assign(this, { rate, dataset: { src: "a", frames, fps: 8 }, place: 0, paused: true, readyState: 0 });
    Object.assign(this, { length: frames / 8, until: -1, begins: 0, src: "", poster: "", loads: 0, playbackRate: 1 });
  }
  get seeking() { return now < this.until; }
  get currentTime() { return this.place; }
  set currentTime(value) { this.place = value; this.until = now + 40; }
  load() { this.loads += 1; this.readyState = 4; }
  play() { this.paused = false; this.begins = this.place === 0 ? now + 200 : now; return Promise.resolve(); }
  pause() { this.paused = true; }
  addEventListener() {}
  advance(ms) {
    if (this.paused || this.seeking || now < this.begins) return;
    this.place = Math.min(this.length, this.place + this.rate * this.playbackRate * ms / 1000);
    if (this.place === this.length) this.paused = true; // it has ended
  }
}
const handlers = {};
const element = (id) => ({ id, addEventListener: (name, f) => { handlers[id] = f; }, setAttribute() {}, dataset: {} });
const made = {};
const videos = [new Video(1.0, 33), new Video(0.9, 33), new Video(1.2, 33), new Video(1.0, 33)];
let seen, next;
globalThis.document = {
  getElementById: (id) => (id === "left" || id === "right" ? null : (made[id] ??= element(id))),
  querySelectorAll: (what) => (what === "video" ? videos : []),
};
globalThis.IntersectionObserver = class { constructor(f) { seen = f; } observe() {} };
globalThis.requestAnimationFrame = (f) => { next = f; };
Object.defineProperty(globalThis, "performance", { value: { now: () => now } });
require("vm").runInThisContext(code);
seen(videos.slice(0, 3).map((target) => ({ target, isIntersecting: true }))); // the fourth is out of view
handlers.play();
const pass = (ms) => {
  for (const end = now + ms; now < end;) {
    now += 16;
    videos.forEach((video) => video.advance(16));
    const tick = next;
    next = null;
    if (tick) tick(now);
  }
};
const frames = () => videos.map((video) => Math.floor(video.place * 8 + 1e-6));
pass(3000);
const apart = [];
for (let i = 0; i < 120; i += 1) {
  pass(16);
  const [a, b, c] = videos.map((video) => video.place);
  const near = (x, y) => Math.min(Math.abs(x - y), 33 / 8 - Math.abs(x - y)) * 8;
  apart.push(Math.max(near(a, b), near(b, c), near(a, c)));
}
handlers.play();
const stopped = frames();
handlers.forward();
const stepped = frames();
handlers.back();
console.log(JSON.stringify({
  apart: apart.sort((x, y) => x - y), stopped, stepped, back: frames(), loads: videos.map((video) => video.loads),
  source: videos[3].src, told: made.play.textContent,
}));
"""


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_script_does_what_it_says() -> None:
    code = """
    require("vm").runInThisContext(require("fs").readFileSync(process.argv[1], "utf8"));
    const sorted = (values, down) => [...values].sort((a, b) => order(a, b, down));
    console.log(JSON.stringify([
      sorted(["10", "", "9", "-1.5"], false), sorted(["10", "", "9", "-1.5"], true), sorted(["l=11", "l=3"], false),
      [0, 0.124, 0.125, 1.0, 1.125, 1.25].map((time) => frameAt(time, 9, 8)),
      [0, 1.0, 1.125, 2.5].map((time) => placeAt(time, 9, 8)), [0, 0.1, -0.05, 0.2, 3].map(pace),
      differences({ a: ["1", "2", "1"], b: ["x", "x", "y"] }, "0", "2"),
    ]));
    """
    done = subprocess.run([NODE or "", "-e", code, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        ["-1.5", "9", "10", ""],
        ["10", "9", "-1.5", ""],
        ["l=3", "l=11"],
        [0, 0, 1, 8, 0, 1],
        [0, 1.0, 0, 0.25],
        [1, 1.4, 0.8, 1.8, 1],
        [["b", "x", "y"]],
    ]


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_videos_in_view_stay_within_a_frame_of_each_other() -> None:
    """Simulated videos of different speeds, which begin late and seek slowly."""
    done = subprocess.run([NODE or "", "-e", CLOCK, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found["apart"][-1] < 1  # frames, from 3 s on
    assert found["stopped"] == found["back"] and len(set(found["stopped"][:3])) == 1
    assert found["stepped"] == [(frame + 1) % 33 for frame in found["stopped"][:3]] + [0]
    assert found["loads"] == [1, 1, 1, 0] and found["source"] == ""  # what is out of view is not loaded
    assert found["told"] == "play"
