"""Lists of clips and prompts for the score command, damaged one way each."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from experiments.checks.clips import pattern, write
from experiments.checks.fork import ROOT
from experiments.checks.trial import HERE, Expect, Outcome, Trial

COLUMNS = ("id", "generated", "reference", "prompt")
GOOD = [
    {"id": "a", "generated": "made/a.mp4", "reference": "given/a.mp4", "prompt": "a dog"},
    {"id": "b", "generated": "made/b.mp4", "reference": "given/b.mp4", "prompt": "a cat, on grass"},
]
OPTIONS = ("--metrics", "none", "--output", f"{HERE}/scores.json")
ODD = ROOT / "experiments" / "checks" / "odd"
Write = Callable[[Path], object]


def clips(here: Path) -> None:
    """Two generated clips and their references."""
    for folder in ("made", "given"):
        for name in ("a", "b"):
            write(here / folder / f"{name}.mp4", pattern(9))


def as_csv(rows: list[dict[str, str]] = GOOD, columns: tuple[str, ...] = COLUMNS, by: str = ",") -> str:
    """Rows as CSV with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, delimiter=by, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_jsonl(rows: list[dict[str, object]] | list[dict[str, str]] = GOOD) -> str:
    """Rows as lines of JSON."""
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"


def changed(index: int = 0, **values: object) -> list[dict[str, object]]:
    """The good rows with one changed; ``...`` takes a key away."""
    rows: list[dict[str, object]] = [dict(row) for row in GOOD]
    rows[index].update(values)
    rows[index] = {key: value for key, value in rows[index].items() if value is not ...}
    return rows


def scored(
    count: int, prompts: tuple[str, ...] = ("a dog", "a cat, on grass")
) -> Callable[[Path, Outcome], str | None]:
    """A check of how many clips were scored and with which prompts."""

    def check(here: Path, _outcome: Outcome) -> str | None:
        told = json.loads((here / "scores.json").read_text())["clips"]
        if len(told) != count:
            return f"{len(told)} clips instead of {count}"
        said = tuple(clip["prompt"] for clip in told)
        return None if said == prompts[:count] else f"prompts are {said}"

    return check


def listing(
    name: str, content: str | bytes, expect: Expect, suffix: str = "jsonl", *names: str, said: str = "a dog"
) -> Trial:
    """A trial of a list with that content."""
    file = f"list.{suffix}"
    raw = content.encode() if isinstance(content, str) else content

    def prepare(here: Path) -> None:
        clips(here)
        (here / file).write_bytes(raw)

    command = ("score", f"{HERE}/{file}", *OPTIONS)
    return Trial("lists", name, command, expect, names or (file,), prepare, scored(2, (said, "a cat, on grass")))


def of_json_text() -> list[Trial]:
    """Lines of JSON: how they are written."""
    accept, refuse, either = Expect.accept, Expect.refuse, Expect.either
    good = as_jsonl()
    return [
        listing("jsonl_good", good, accept),
        listing("jsonl_bom", b"\xef\xbb\xbf" + good.encode(), accept),
        listing("jsonl_crlf", good.replace("\n", "\r\n"), accept),
        listing("jsonl_blank_lines", "\n\n" + good.replace("\n", "\n\n"), accept),
        listing("jsonl_no_end", good.rstrip(), accept),
        listing("jsonl_u2028", as_jsonl(changed(prompt="a\u2028dog")), either, said="a\u2028dog"),
        listing("jsonl_utf16", good.encode("utf-16"), refuse),
        listing("jsonl_latin1", as_jsonl(changed(prompt="café")).encode("latin-1"), refuse),
        listing("jsonl_nul", good.replace("a dog", "a\0dog"), refuse),
        listing("jsonl_array", json.dumps(GOOD), refuse),
        listing("jsonl_pretty", json.dumps(GOOD[0], indent=1), refuse),
        listing("jsonl_string", '"made/a.mp4"\n', refuse),
        listing("jsonl_number", "12\n", refuse),
        listing("jsonl_null", "null\n", refuse),
        listing("jsonl_cut", good[:-20], refuse),
        listing("jsonl_comma", good.replace("}\n", "},\n"), refuse),
        listing("jsonl_single_quotes", good.replace('"', "'"), refuse),
        listing("jsonl_empty", "", refuse),
        listing("jsonl_spaces", " \n\n", refuse),
        listing("jsonl_deep", "[" * 100000, refuse),
        listing("jsonl_nan", good.replace('"a dog"', "NaN"), refuse),
        listing("jsonl_long_number", good.replace('"a dog"', "1" * 5000), refuse),
        listing(
            "jsonl_twice_key", good.replace('"prompt": "a dog"', '"prompt": "a dog", "prompt": "x"'), either, said="x"
        ),
    ]


def of_json_keys() -> list[Trial]:
    """Lines of JSON: keys that are missing or unknown, and what ids and paths say."""
    accept, refuse, either = Expect.accept, Expect.refuse, Expect.either
    return [
        listing("jsonl_same_id", as_jsonl(changed(id="b")), refuse, "jsonl", "id"),
        listing("jsonl_unknown_key", as_jsonl(changed(promt="x")), either),
        listing("jsonl_capitals", as_jsonl([{k.title(): v for k, v in row.items()} for row in GOOD]), either),
        *(listing(f"jsonl_no_{key}", as_jsonl(changed(**{key: ...})), refuse) for key in COLUMNS[1:]),
        *(listing(f"jsonl_empty_{key}", as_jsonl(changed(**{key: ""})), refuse) for key in COLUMNS[1:3]),
        listing("jsonl_missing_file", as_jsonl(changed(generated="made/c.mp4")), refuse, "jsonl", "made/c.mp4"),
        listing("jsonl_folder", as_jsonl(changed(generated="made")), refuse, "jsonl", "made"),
        listing("jsonl_itself", as_jsonl(changed(generated="list.jsonl")), refuse),
        listing("jsonl_long_path", as_jsonl(changed(generated="x" * 5000)), refuse, "jsonl", "list", "xxx"),
        listing("jsonl_nul_path", as_jsonl(changed(generated="a\0b.mp4")), refuse, "jsonl", "b.mp4"),
        listing("jsonl_backslash", as_jsonl(changed(generated="made\\a.mp4")), refuse, "jsonl", "made"),
        listing("jsonl_markup_id", as_jsonl(changed(id="[/red]")), accept),
        listing("jsonl_long_id", as_jsonl(changed(id="x" * 300)), either),
    ]


def of_json_types() -> list[Trial]:
    """Lines of JSON: values that are no text."""
    wrong = [12, True, None, [], {}, [1], {"a": 1}, 1e300]
    return [
        listing(
            f"jsonl_{key}_{i}",
            as_jsonl(changed(**{key: value})),
            Expect.either if (key, value) == ("id", None) else Expect.refuse,
        )
        for key in ("generated", "reference", "prompt", "id")
        for i, value in enumerate(wrong)
    ]


def of_csv() -> list[Trial]:
    """Tables with a header."""
    accept, refuse, either = Expect.accept, Expect.refuse, Expect.either
    good = as_csv()
    capitals = as_csv().replace("id,generated,reference,prompt", "ID,Generated,Reference,Prompt")
    return [
        listing("csv_good", good, accept, "csv"),
        listing("csv_bom", b"\xef\xbb\xbf" + good.encode(), accept, "csv"),
        listing("csv_bom_first", b"\xef\xbb\xbf" + as_csv(columns=COLUMNS[1:]).encode(), accept, "csv"),
        listing("csv_semicolon", as_csv(by=";"), either, "csv", ";"),
        listing("csv_tab", as_csv(by="\t"), either, "csv", "tab", "column"),
        listing("csv_capitals", capitals, either, "csv"),
        listing(
            "csv_spaces_in_header", good.replace("id,generated,reference", "id, generated, reference"), either, "csv"
        ),
        listing("csv_no_header", good.split("\n", 1)[1], refuse, "csv"),
        listing("csv_header_only", good.split("\n", 1)[0], refuse, "csv"),
        listing("csv_empty", "", refuse, "csv"),
        listing("csv_cr", good.replace("\r\n", "\r"), either, "csv"),
        listing("csv_short_row", good.replace(",a dog", ""), refuse, "csv"),
        listing("csv_long_row", good.replace("a dog", "a dog,x,y"), refuse, "csv"),
        listing("csv_unquoted_comma", good.replace('"a cat, on grass"', "a cat, on grass"), refuse, "csv"),
        listing("csv_open_quote", good.replace("a dog", '"a dog'), refuse, "csv"),
        listing("csv_column_twice", good.replace("id,", "prompt,"), refuse, "csv"),
        listing("csv_nul", good.replace("a dog", "a\0dog"), either, "csv", said="a\0dog"),
        listing("csv_utf16", good.encode("utf-16"), refuse, "csv"),
        listing("csv_latin1", good.replace("a dog", "café").encode("latin-1"), refuse, "csv"),
        listing("csv_wide_field", good.replace("a dog", "x" * 200000), refuse, "csv"),
        listing("csv_formula", good.replace("a dog", "=1+1"), either, "csv", said="=1+1"),
        listing("csv_other_suffix", good, refuse, "txt", "list"),
        listing("csv_capital_suffix", good, either, "CSV"),
    ]


def of_prompts() -> list[Trial]:
    """Prompts of a folder's clips, by name."""
    accept, refuse, either = Expect.accept, Expect.refuse, Expect.either

    def prompts(name: str, prepare: Write, file: str, expect: Expect, *names: str, said: tuple[str, ...] = ()) -> Trial:
        def both(here: Path) -> None:
            clips(here)
            prepare(here)

        command = ("score", f"{HERE}/made", f"{HERE}/given", "--prompts", f"{HERE}/{file}", *OPTIONS)
        check = scored(2, said or ("a dog", "a cat"))
        return Trial("lists", name, command, expect, names or (file,), both, check)

    def text(content: str, file: str = "prompts.csv") -> Write:
        return lambda here: (here / file).write_text(content)

    good = "name,prompt\na,a dog\nb,a cat\n"
    odd = {
        "bom": ("a woman, walking", "a woman"),
        "semi": ("a woman", "a woman"),
        "caps": ("x", "y"),
        "suffix": ("x", "y"),
    }
    return [
        prompts("prompts_good", text(good), "prompts.csv", accept),
        prompts("prompts_twice", text(good + "a,a horse\n"), "prompts.csv", refuse, "a"),
        prompts("prompts_of_none", text(good + "c,a horse\n"), "prompts.csv", refuse, "c"),
        prompts("prompts_suffix", text(good.replace("a,", "a.mp4,")), "prompts.csv", either, "a.mp4"),
        prompts("prompts_space", text(good.replace("b,", "b ,")), "prompts.csv", either),
        prompts("prompts_one", text("name,prompt\na,a dog\n"), "prompts.csv", either, said=("a dog", "")),
        prompts("prompts_empty", text("name,prompt\na,\nb,a cat\n"), "prompts.csv", either, said=("", "a cat")),
        prompts("prompts_missing", lambda here: None, "prompts.csv", refuse),
        prompts("prompts_folder", lambda here: (here / "prompts.csv").mkdir(), "prompts.csv", refuse),
        *(
            prompts(
                f"prompts_odd_{name}",
                lambda h, n=name: shutil.copy(ODD / f"{n}.csv", h),
                f"{name}.csv",
                accept,
                said=said,
            )
            for name, said in odd.items()
        ),
    ]


def of_options() -> list[Trial]:
    """Numbers and words of the command itself."""
    pair = ("score", f"{HERE}/made/a.mp4", f"{HERE}/given/a.mp4", *OPTIONS)

    def option(name: str, *words: str, expect: Expect = Expect.refuse) -> Trial:
        return Trial("lists", f"option_{name}", (*pair, *words), expect, (words[0].strip("-"), words[-1][:20]), clips)

    numbers = ("inf", "nan", "-1", "0", "1e300", "abc", "", "1")
    return [
        *(option(f"frames_{n}", "--frames", n) for n in numbers),
        *(option(f"folder_fps_{n}", "--folder-fps", n) for n in numbers[:-1]),
        *(
            option(f"size_{n}", "--size", n)
            for n in ("0x0", "-1x5", "5", "x", "1x1x1", "1e9x1e9", "999999999x999999999")
        ),
        option("size_1x1", "--size", "1x1", expect=Expect.either),
        option("metrics", "--metrics", "abc"),
        option("tracker", "--tracker", "abc"),
        option("align", "--align", "abc"),
        option("set_word", "--set", "abc"),
        option("set_unknown", "--set", "metrics.abc=1"),
        option("set_grammar", "--set", "metrics.also=[a"),
        option("clip_missing", "--clip", "/nowhere/clip.pt", "--metrics", "fast"),
        option("output_folder", "--output", f"{HERE}/made"),
        option("manifest_missing", "--manifest", "gone.jsonl"),
    ]


def rows() -> list[Trial]:
    """All of them."""
    return [*of_json_text(), *of_json_keys(), *of_json_types(), *of_csv(), *of_prompts(), *of_options()]
