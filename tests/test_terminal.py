"""Words that people choose are printed as they are, whatever rich or the terminal would make of them."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from rich.table import Table

from fastvmt.benchmarks import Lost
from fastvmt.engine.plan_tables import lost_table
from fastvmt.results.statistics import summarise
from fastvmt.results.tables import mean_table, score_table, summary_table
from fastvmt.score.command import clip_table
from fastvmt.terminal import harmless, literal_text
from helpers.records import case_record

HOSTILE = ("[/red]", "[bold]a[/bold]", "[link=x]y", "a [/] b", "\\[/red]", ":dog:", "\x1b[31mred", "\u202edog", "a\rb")
WORDS = st.text(min_size=1, max_size=40) | st.lists(st.sampled_from(HOSTILE), min_size=1).map("".join)


def printed(what: RenderableType) -> str:
    """What a terminal gets, colours and styles included, on very long lines."""
    stream = io.StringIO()
    Console(file=stream, width=5000, force_terminal=True).print(what)
    return stream.getvalue()


def cells(table: Table) -> list[str]:
    """The texts of a table's cells, by column."""
    return [str(cell) for column in table.columns for cell in column.cells]


@pytest.mark.parametrize("words", HOSTILE)
def test_a_text_is_literal(words: str) -> None:
    assert printed(literal_text(words)) == f"{harmless(words)}\n"


@settings(max_examples=80, deadline=None, derandomize=True)
@given(WORDS)
@example("[/red]")
def test_every_table_prints_what_it_is_given(words: str) -> None:
    record = case_record(words, prompt=words, scores={words: 0.5})
    clip = {"id": words, "scores": {words: 0.5}, "notes": [words], "frames": 9, "pooled": ()}
    for table in (
        score_table([record], {words: words}),
        summary_table("means", {words: summarise({"a": 0.5})}),
        clip_table([clip], {words: words}),
        lost_table([Lost(words, 1, words)]),
    ):
        assert any(harmless(words) in cell for cell in cells(table))
        shown = printed(table)
        for line in filter(str.strip, harmless(words).split("\n")):
            assert line.strip() in shown


def test_what_no_case_has_is_named_beneath_the_means() -> None:
    records = [case_record(f"r{i}/p/s0", scores={"motion_fidelity": 0.5, "trajectory": float("nan")}) for i in range(2)]
    table = mean_table(records)
    names = [str(cell) for cell in table.columns[0].cells]
    assert "motion fidelity" in names and "trajectory" not in names
    assert str(table.caption).startswith("n/a for every case: trajectory, ")
    assert str(table.caption).endswith(" more (not measured here)") and "n/a" in printed(table)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(WORDS)
def test_nothing_steers_the_terminal(words: str) -> None:
    made = harmless(words)
    assert not {letter for letter in made if ord(letter) < 32 and letter != "\n"} | ({"\x7f", "\u202e"} & set(made))
    assert made.isprintable() or harmless(made) == made
    made.encode()
