"""Whatever a manifest holds, its author gets one line with file, key and value, and no traceback."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from fastvmt.benchmarks.manifest import read_manifest
from fastvmt.benchmarks.reference import RULES, ManifestError, Reference
from helpers.manifests import loaded

HOSTILE = [None, True, -1, 0.5, float("nan"), float("inf"), 10**30, "", " ", "../x\0", "x" * 3000, [], [[]], [None], {}]
KEYS = sorted({f.name for f in fields(Reference)} - {"start", "num", "stride"} | {"frames"})


def test_half_of_a_character_is_no_text(bench):
    path = bench(swan={})
    path.write_text(path.read_text().replace('"swan"', '"swan\\ud83d"', 1))
    with pytest.raises(ManifestError, match="line 1 has half of a character"):
        read_manifest(path)


def test_every_key_has_a_rule():
    assert set(RULES) == set(KEYS) - {"prompts", "frames"} | {"frames.start", "frames.num", "frames.stride"}


@pytest.mark.parametrize("key", [*KEYS, "frames.start", "frames.num", "frames.stride", "prompts.id", "prompts.text"])
def test_every_key_with_hostile_values(bench, key):
    for value in HOSTILE:
        outer, _, inner = key.partition(".")
        entry = {inner: value} if outer == "frames" and inner else value
        entry = [{"id": "a", "text": "a dog"} | {inner: value}] if outer == "prompts" and inner else entry
        path = bench(swan={outer: entry})
        try:
            read_manifest(path)
        except ManifestError as error:
            text = str(error)
            assert text.startswith("bench.jsonl, line 1: ") and outer in text and "\n" not in text and len(text) < 400
        else:  # legal, and then its clip can be used or is lost with a reason
            for lost in loaded(path, on_lost="skip").lost:
                assert lost.reason and "\n" not in lost.reason


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"\xff\xfe{}", "bench.jsonl is not UTF-8 text"),
        (b"[1]", r"line 1: the line=\[1\] must be an object"),
        (b"3", "line 1: the line=3 must be"),
        (b"null", "line 1: the line=None must be"),
        (b'{"id": "a", "id": "b"}', "line 1 is not JSON: the key 'id' comes twice"),
        (b"[" * 9000, "line 1 is not JSON"),
        (b"{'id': 'a'}", "line 1 is not JSON"),
        (b" \n\n", "has no references"),
    ],
)
def test_lines_that_are_no_references(bench, lines, reason):
    path = bench()
    path.write_bytes(lines)
    with pytest.raises(ManifestError, match=reason) as refused:
        read_manifest(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"name: [", "bench.yaml is not YAML"),
        (b"\xff\xfe", "bench.yaml is not UTF-8 text"),
        (b"- name", "bench.yaml must have a name"),
        (b"", "bench.yaml must have a name"),
        (b"name: {a: 1}", r"bench.yaml: name=\{'a': 1\} must be text"),
        (b"name: a\nversion: [1]", r"bench.yaml: version=\[1\] must be"),
        (b"name: a\nlicense: 3", "bench.yaml: license=3 must be text"),
        (b"name: a\ndefaults: [1]", r"bench.yaml: defaults=\[1\] must be keys of a line"),
        (b"name: a\ndefaults: {1: 2}", "bench.yaml: defaults="),
        (b"name: a\ncolour: red", "bench.yaml must have a name, and may have"),
        (b"name: !!python/object/apply:os.system [ls]", "bench.yaml is not YAML"),
        (b"name: a\ndefaults: {seeds: x}", "bench.jsonl, line 1: seeds='x' must be"),
    ],
)
def test_headers_that_are_wrong(bench, header, reason):
    path = bench()
    path.with_suffix(".yaml").write_bytes(header)
    with pytest.raises(ManifestError, match=reason) as refused:
        read_manifest(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["", ".", "bench", "bench.json", "bench.yaml"])
def test_paths_that_are_no_manifest(bench, tmp_path, name):
    bench()
    with pytest.raises(ValueError, match=r"must be a file <name>\.jsonl"):
        read_manifest(tmp_path / name if name else type(tmp_path)(""))


def test_ends_of_lines_and_marks_of_other_systems(bench):
    path = bench(swan={"prompts": [{"id": "a", "text": "a\u2028dog\u0085on grass"}]})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\r\n"
    path.write_bytes(text.encode("utf-8-sig"))
    header = path.with_suffix(".yaml")
    header.write_bytes(header.read_text().replace("\n", "\r\n").encode("utf-8-sig"))
    assert loaded(path)[0].prompt == "a\u2028dog\u0085on grass"
