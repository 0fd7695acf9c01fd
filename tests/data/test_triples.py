"""Lists: what spreadsheets make of them is read, and what is wrong is named."""

from __future__ import annotations

import json

import pytest

from fastvmt.data.triples import clips_in, listed, matched, read_prompts


@pytest.fixture
def folders(tmp_path):
    """Clips a and b, generated and reference: no file is opened to match names."""
    for folder in ("made", "given"):
        (tmp_path / folder).mkdir()
        for name in ("a.mp4", "b.mp4", "._a.mp4"):
            (tmp_path / folder / name).write_bytes(b"x")
    return tmp_path / "made", tmp_path / "given"


def prompts_of(tmp_path, folders, content: bytes, suffix: str = ".csv") -> dict[str, str]:
    path = tmp_path / f"prompts{suffix}"
    path.write_bytes(content)
    triples, alone = matched(*folders, read_prompts(path), "")
    assert alone == []
    return {triple.id: triple.prompt for triple in triples}


@pytest.mark.parametrize(
    "content",
    [
        b'name,prompt\na,"a woman, walking"\nb,a dog\n',
        b'\xef\xbb\xbfname,prompt\r\na,"a woman, walking"\r\nb,a dog\r\n',
        b"name;prompt\r\na;a woman, walking\r\nb;a dog\r\n",
        b"name\tprompt\na\ta woman, walking\nb\ta dog\n",
        b'Name, PROMPT ,note\na,"a woman, walking",x\nb,a dog,\n\n',
        b'name,prompt\na.mp4,"a woman, walking"\nb.mov,a dog\n',
    ],
)
def test_lists_of_prompts_that_are_read(tmp_path, folders, content):
    assert prompts_of(tmp_path, folders, content) == {"a": "a woman, walking", "b": "a dog"}


def test_lines_of_json_hold_any_character(tmp_path, folders):
    rows = [{"Name": "a", "Prompt": "a\u2028b\u0085c"}, {"name": "b", "prompt": "\N{DOG FACE} 'x'"}]
    content = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("utf-8-sig")
    assert prompts_of(tmp_path, folders, content, ".jsonl") == {"a": "a\u2028b\u0085c", "b": "\N{DOG FACE} 'x'"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name,prompt\nc,x\n", "'c', which is no clip; there are a, b"),
        (b"name,prompt\na,x\na,y\n", "names 'a' twice"),
        (b"name,prompt\na,x\na.mp4,y\n", "the clip 'a' twice"),
        (b"name,prompt\na,a woman, walking\n", "line 2 has 3 fields for 2: quote texts that hold ','"),
        (b"clip,text\na,x\n", "the first line must name the columns name, prompt, it is 'clip,text'"),
        (b"a,x\nb,y\n", "must name the columns"),
        (b"name,prompt\na\n", "line 2 lacks prompt"),
        (b"name,prompt\n,x\n", "line 2 lacks name"),
        (b"name,prompt,Name\na,x,b\n", "names the column 'name' twice"),
        (b"name,prompt\n", "is empty"),
        (b"name,prompt\na,\xff\xfe\n", "not UTF-8 text"),
    ],
)
def test_lists_of_prompts_that_are_wrong(tmp_path, folders, content, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        prompts_of(tmp_path, folders, content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("line", ["[1]", "3", "null", "{", "[" * 5000, '{"name": 3, "prompt": "x"}'])
def test_lines_that_are_wrong(tmp_path, line):
    (tmp_path / "l.jsonl").write_text('{"name": "a", "prompt": "x"}\n' + line)
    with pytest.raises(ValueError, match=r"l\.jsonl, line 2"):
        read_prompts(tmp_path / "l.jsonl")


def test_one_clip_takes_its_own_prompt_from_a_list(folders):
    made, given = (folder / "a.mp4" for folder in folders)
    assert matched(made, given, {"a.mp4": "x", "z": "y"}, "")[0][0].prompt == "x"
    with pytest.raises(ValueError, match="do not name the clip 'a'; they name z"):
        matched(made, given, {"z": "y"}, "")


def test_triples_are_listed_with_any_separator(tmp_path, folders):
    (tmp_path / "l.csv").write_text("\ufeffGenerated;Reference;Prompt;ID\nmade/a.mp4;given/a.mp4;a dog, running;x\n")
    (triple,) = listed(tmp_path / "l.csv")
    assert (triple.id, triple.prompt, triple.generated) == ("x", "a dog, running", tmp_path / "made" / "a.mp4")


def test_hidden_files_are_no_clips(folders):
    assert sorted(clips_in(folders[0])) == ["a", "b"]


@pytest.mark.parametrize("value", [12, True, [], {}, 1e300, "", None])
@pytest.mark.parametrize("key", ["generated", "reference", "prompt", "id"])
def test_values_of_triples_are_text(tmp_path, folders, key, value):
    row = {"generated": "made/a.mp4", "reference": "given/a.mp4", "prompt": "x", "id": "a"} | {key: value}
    (tmp_path / "l.jsonl").write_text(json.dumps(row))
    if (key, value) in (("prompt", ""), ("id", "")):
        assert listed(tmp_path / "l.jsonl")[0].id == "a"
        return
    with pytest.raises(ValueError, match=rf"l\.jsonl, line 1.*{key}"):
        listed(tmp_path / "l.jsonl")
