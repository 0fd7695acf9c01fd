"""Names of rows and columns come back from every form of a table as they were."""

from __future__ import annotations

import csv
import html
import io
import math
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fastvmt.studies.forms import comma_separated, footnotes, latex, markdown, one_line
from fastvmt.studies.table import Entry

HOSTILE = (
    "|",
    "\\",
    "`",
    "``",
    "[a](b)",
    "<b>",
    "&amp;",
    "$x_1$",
    "%",
    "{",
    "}",
    "#",
    "^",
    "~",
    "--",
    "\n",
    "\x1b",
    "*",
)
NAMES = st.lists(st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), max_size=5), min_size=1).map("".join)
NAMES = NAMES.filter(lambda name: one_line(name) != "")
BODY = [[Entry(0.5, 3, None)]]
TEX = {
    "textbackslash": "\\",
    "textasciitilde": "~",
    "textasciicircum": "^",
    "textbar": "|",
    "textless": "<",
    "textgreater": ">",
    "textasciigrave": "`",
}


def printed(source: str) -> str:
    """What LaTeX prints for a cell; an unescaped character with a meaning fails."""
    tokens = re.findall(r"\\([a-z]+)\{\}|\\([&%$#_{}])|\{([^\\{}])\}|([^\\&%$#_{}~^|<>`\[\]])|(.)", source, re.DOTALL)
    assert not [each for each in tokens if each[4]], source
    return "".join(TEX[word] if word else escaped or grouped or plain for word, escaped, grouped, plain, _ in tokens)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(NAMES)
@example("a|b`c\\|d")
@example("[a] \\\\ & b")
def test_markdown_is_literal(name: str) -> None:
    page = MarkdownIt("commonmark").enable("table").render(markdown([name], [name], BODY))
    row = re.findall(r"<t[dh]>(.*?)</t[dh]>", page, re.DOTALL)
    assert len(row) == 6, page  # three heads, three cells
    assert html.unescape(re.fullmatch(r"<code>(.*)</code>", row[3], re.DOTALL)[1]) == one_line(name)
    assert html.unescape(row[2]) == one_line(name.replace("_", " "))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(NAMES)
@example("[a] \\\\ & b")
def test_latex_is_literal(name: str) -> None:
    line = latex([name], ["x"], BODY).splitlines()[4]
    assert line.endswith(r" & 3 & 0.500 \\")
    assert printed(line.removesuffix(r" & 3 & 0.500 \\")) == one_line(name)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(NAMES)
def test_csv_is_literal(name: str) -> None:
    head, row = csv.reader(io.StringIO(comma_separated([name], [name], BODY), newline=""))
    assert head[1] == f"{one_line(name)}_mean" and row[:3] == [one_line(name), "0.5", "3"]


def test_a_mean_of_fewer_cases_than_the_row_tells_its_own_count() -> None:
    body = [[Entry(0.5, 4, None), Entry(0.25, 1, None), Entry(math.nan, 0, None)]]
    columns = ["fidelity", "trajectory", "nowhere"]
    assert markdown(["a"], columns, body).splitlines()[-1] == "| `a` | 4 | 0.500 | 0.250 (1) | n/a |"
    assert r"a & 4 & 0.500 & 0.250 (1) & n/a \\" in latex(["a"], columns, body)


def test_reasons_of_missing_scores_stand_beneath() -> None:
    assert footnotes({"trajectory_cosine": {"the reference\nstands still": 3, "[/red]": 1}}) == [
        "trajectory cosine is n/a, by number of cases: the reference stands still (3); [/red] (1)"
    ]
