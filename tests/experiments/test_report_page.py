"""The check of a large study's page: what it takes for a failure, and how it reads a browser's words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.checks.browser import Page, opened
from experiments.checks.report_page import OUTSIDE, apart, failures, main

GOOD = {
    "first_paint_seconds": 0.1,
    "sorts": True,
    "hostile_words_stay_words": True,
    "videos_play": True,
    "frames_apart": 0.5,
    "errors": [],
    "outside_requests": [],
}


def test_videos_that_loop_are_near_across_the_end() -> None:
    assert apart({"places": [[0.1, 3.9], [1.0, 1.0]], "frames": 32, "fps": 8}) == pytest.approx(1.6)


def test_addresses_from_outside_are_found() -> None:
    inside = '<a href=\'../x.mp4\'>// a comment</a><img src="posters/a.jpg"><a href="#case-1">'
    assert not OUTSIDE.findall(inside)
    for word in ("https://a.b", "<img src='//a.b/c'>", "<link href=//a.b>", "@import url(a)"):
        assert OUTSIDE.search(word), word


def test_what_is_no_good_is_named_and_what_was_not_measured_is_not() -> None:
    found = {"write": {"cpu_seconds": 9.0}, "outside": [], "in_browser": GOOD}
    assert failures(found) == failures(found | {"in_browser": None}) == []
    bad = GOOD | {"sorts": False, "frames_apart": 1.5, "errors": ["x"], "first_paint_seconds": 4.0}
    assert failures({"write": {"cpu_seconds": 11.0}, "outside": ["http://"], "in_browser": bad}) == [
        "write",
        "outside_addresses",
        "sorts",
        "errors",
        "first_paint",
        "frames_apart",
    ]


def test_events_are_kept_while_an_answer_is_awaited() -> None:
    (listens, to), (of, answers) = os.pipe(), os.pipe()
    told = [
        b'{"id": 1, "result": {"targetId": "a"}}',
        b'{"id": 2, "result": {"sessionId": "b"}}',
        *(b'{"id": %d, "result": {}}' % i for i in range(3, 7)),
        b'{"method": "Page.loadEventFired", "params": {"timestamp": 1}}',
        b'{"id": 7, "result": {"result": {"value": 5}}}',
        b'{"id": 8, "error": {"message": "no such method"}}',
    ]
    os.write(answers, b"\0".join([*told, b""]))
    page = Page(to, of)
    assert page.evaluate("2 + 3") == 5
    page.wait("Page.loadEventFired")
    assert page.of_kind("Page.loadEventFired") == [{"timestamp": 1}]
    with pytest.raises(ValueError, match="refuses Page.fly: no such method"):
        page.ask("Page.fly")
    os.close(answers)
    with pytest.raises(OSError, match="the browser has ended"):
        page.ask("Page.reload")
    assert b'"expression": "2 + 3"' in os.read(listens, 1 << 16)
    for pipe in (listens, to, of):
        os.close(pipe)


def test_what_is_no_browser_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Broken pipe|has ended"), opened(Path("/bin/true")):
        pass
    with pytest.raises(ValueError, match="there is no such file"):
        main(["--browser", str(tmp_path / "none")])
