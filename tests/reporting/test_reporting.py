"""What a person sees: frames as tables, and how a stage moved the documents. Golden texts are written by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.rankers import FakeClock, ToyReranker, ToyRetriever

from pt_cascade import Cascade
from pt_cascade.cascade import Stage, Step, walk
from pt_cascade.numbers import count_of
from pt_cascade.reporting.moves import list_stage
from pt_cascade.reporting.tables import cost_table, effectiveness_table, format_table
from pt_cascade.reporting.widths import line_width, wrap

EFFECTIVENESS = pd.DataFrame(
    {
        "name": ["bm25 → 1000", "bm25 → 1000 · bi → 20", "worse"],
        "nDCG@10": [0.5, 0.6004, 0.1],
        "AP(rel=2)@100": [0.7, 0.69951, 1],
        "nDCG@10 +": [np.nan, 9, 0],
        "nDCG@10 -": [np.nan, 1, 9],
        "nDCG@10 p-value": [np.nan, 0.0004, 0.6],
        "nDCG@10 reject": [False, True, False],
        "nDCG@10 p-value corrected": [np.nan, 0.000999, 0.9996],
        "AP(rel=2)@100 +": [np.nan, 1, 2],
        "AP(rel=2)@100 -": [np.nan, 1, 2],
        "AP(rel=2)@100 p-value": [np.nan, 0.0005, np.nan],
        "AP(rel=2)@100 reject": [False, True, True],
        "AP(rel=2)@100 p-value corrected": [np.nan, 0.001, np.nan],
    }
)
EFFECTIVENESS_TEXT = """\
system                nDCG@10 AP(rel=2)@100 p nDCG@10 p AP(rel=2)@100
bm25 → 1000             0.500         0.700         -               -
bm25 → 1000 · bi → 20   0.600         0.700   < 0.001           0.001
worse                   0.100         1.000     1.000               -"""

COST = pd.DataFrame(
    {
        "stage": ["bm25", "bi_encoder", "cascade"],
        "docs_in": [0.0, 876.25, 0.0],
        "docs_out": [876.25, 100.0, 100.0],
        "pairs": [0.0, 1876.25, 1876.25],
        "ms": [0.004, 12.3456, 12.3496],
        "p95_ms": [0.01, 1234.5, 1234.567],
    }
)
COST_TEXT = """\
stage      docs in docs out model pairs mean ms   p95 ms
bm25           0.0    876.2         0.0    0.00     0.01
bi_encoder   876.2    100.0     1,876.2   12.35 1,234.50
cascade        0.0    100.0     1,876.2   12.35 1,234.57"""


def test_effectiveness_is_shown_by_measure_then_by_corrected_p() -> None:
    """Measures in the order given, then corrected p-values alone; tiny ones as a bound; none, as for the baseline, as a dash."""
    assert effectiveness_table(EFFECTIVENESS) == EFFECTIVENESS_TEXT


def test_the_order_of_measures_is_the_frames() -> None:
    """With the measures exchanged the columns are exchanged, p-values too."""
    columns = ["name", "AP(rel=2)@100", "nDCG@10", *EFFECTIVENESS.columns[3:]]
    heading = effectiveness_table(EFFECTIVENESS[columns]).splitlines()[0]
    assert heading.split() == ["system", "AP(rel=2)@100", "nDCG@10", "p", "AP(rel=2)@100", "p", "nDCG@10"]


def test_without_p_values_there_are_no_p_columns() -> None:
    """One system, or one query: the measures are all there is."""
    assert effectiveness_table(EFFECTIVENESS.iloc[:1, :3]) == "system      nDCG@10 AP(rel=2)@100\nbm25 → 1000   0.500         0.700"


def test_costs_are_shown_by_stage() -> None:
    """Counts with one decimal, times with two, thousands set apart, headings that a person reads."""
    assert cost_table(COST) == COST_TEXT


def test_tables_leave_their_frames_alone() -> None:
    """No argument is changed."""
    effectiveness, cost = EFFECTIVENESS.copy(deep=True), COST.copy(deep=True)
    effectiveness_table(EFFECTIVENESS)
    cost_table(COST)
    pd.testing.assert_frame_equal(EFFECTIVENESS, effectiveness)
    pd.testing.assert_frame_equal(COST, cost)


def test_lay_out_puts_names_left_and_numbers_right() -> None:
    """Formats where they are given, a dash where there is no value, and a heading that is wider than its column."""
    table = pd.DataFrame({"stage of it": ["a", "bb"], "n": [1, 22], "x": [0.25, np.nan], "p": [0.5, 0.125]})
    assert (
        format_table(table, {"x": "{:.1f}".format})
        == "stage of it  n   x     p\na            1 0.2 0.500\nbb          22   - 0.125"
    )


@given(
    st.lists(
        st.tuples(st.text("ab →·", min_size=1, max_size=9).map(str.strip), st.floats(0, 1), st.integers(0, 10**6)),
        min_size=1,
        max_size=5,
    )
)
def test_lay_out_loses_nothing(rows: list[tuple[str, float, int]]) -> None:
    """A line a row under one heading, each with its name first and its values last, columns ending where their heading ends."""
    table = pd.DataFrame(rows, columns=["system", "value", "count"])
    heading, *lines = format_table(table, {"value": "{:.3f}".format}).splitlines()
    assert len(lines) == len(rows)
    end = heading.index("value") + len("value")
    for line, (name, value, count) in zip(lines, rows, strict=True):
        assert line == line.rstrip()
        assert line.startswith(name)
        assert line[:end].endswith(f" {value:.3f}")
        assert line[end:].strip() == str(count)


def test_p_values_are_bounds_only_below_a_thousandth() -> None:
    """Golden: rounding by hand on both sides of .001."""
    p_values = [0.0, 0.0009999, 0.001, 0.0014999, 0.05, 1.0]
    table = pd.DataFrame({"name": list("abcdef"), "RR": 0.5, "RR p-value corrected": p_values})
    told = [line[line.index("0.500") + 5 :].strip() for line in effectiveness_table(table).splitlines()[1:]]
    assert told == ["< 0.001", "< 0.001", "0.001", "0.001", "0.050", "1.000"]


TEXTS = {f"d{n}": f"text of\n document {n} {'long ' * 3 * n}".strip() for n in range(7)}  # d7 has none

# The toys' hashes rank d0 d2 d4 d6 d5 d7, then d5 d0 d2 d4 d6; a stage takes 2 s, because its clock is read four times.
FIRST_TEXT = """\
toy → 5   (2000.0 ms; 6 ranked, 5 passed on)
  rank score docno text
  1    3.000 d0    text of document 0
  2    3.000 d2    text of document 2 long long long long long long
  3    2.000 d4    text of document 4 long long long long long long long long …
  4    2.000 d6    text of document 6 long long long long long long long long …
  5    0.000 d5    text of document 5 long long long long long long long long …
  6    0.000 d7
  cut: 1 document, from rank 6: d7
"""
SECOND_TEXT = """\
toy_reranker → 1   (2000.0 ms, 5 model pairs; 5 ranked, 1 passed on)
  rank moved score docno text
  1       ↑4 2.000 d5    text of document 5 long long long long long long long long …
  2       ↓1 1.000 d0    text of document 0
  3       ↓1 1.000 d2    text of document 2 long long long long long long
  cut: 4 documents, from rank 2: d0, d2, d4, …
"""


def steps(query: str, cascade: Cascade) -> list[Step]:
    """Run one query with a clock that goes on by a second each time it is read."""
    return list(walk(cascade, pd.DataFrame({"qid": ["1"], "query": [query]}), clock=FakeClock()))


def test_a_stage_is_listed() -> None:
    """What it took, its list with ranks from 1, scores and short texts, and what fell to the cut-off; arrows after the first."""
    first, second = steps("running total", Cascade.of(ToyRetriever(docs=8, levels=4) % 5 >> ToyReranker(levels=4) % 1))
    assert list_stage(first, None, TEXTS, 10) == FIRST_TEXT
    assert list_stage(second, first.kept, TEXTS, 3) == SECOND_TEXT


def test_a_stage_that_finds_nothing_says_so() -> None:
    """Neither a table nor a cut: no document, in every stage."""
    first, second = steps("nothing", Cascade.of(ToyRetriever() % 5 >> ToyReranker() % 2))
    assert list_stage(first, None, {}, 3) == "toy → 5   (1000.0 ms; 0 ranked, 0 passed on)\n  no document\n"
    assert list_stage(second, first.kept, {}, 3) == "toy_reranker → 2   (0.0 ms; 0 ranked, 0 passed on)\n  no document\n"


def step(docnos: list[str], cutoff: int | None) -> Step:
    """A stage that ranked some documents in this order, its rows shuffled."""
    ranked = pd.DataFrame({"qid": "1", "docno": docnos, "score": 1.0, "rank": range(len(docnos))})
    kept = ranked.head(cutoff or len(docnos))
    stage = Stage("toy", (ToyReranker(),), cutoff)
    return Step(stage, ranked, ranked.iloc[::-1], kept, ranked["qid"], 1234.56)


def test_moves_are_shown_by_arrows() -> None:
    """Up, down, in its place, and new where a stage adds documents; a stage without a cut-off cuts nothing. Golden: by hand."""
    before = pd.DataFrame({"docno": ["a", "b", "c"], "rank": [0, 1, 2]})
    assert list_stage(step(["b", "a", "c", "x"], None), before, {}, 9) == (
        "toy   (1234.6 ms, 4 model pairs; 4 ranked, 4 passed on)\n"
        "  rank moved score docno text\n"
        "  1       ↑1 1.000 b\n"
        "  2       ↓1 1.000 a\n"
        "  3        = 1.000 c\n"
        "  4      new 1.000 x\n"
    )


@given(st.permutations(list("abcdefgh")), st.permutations(list("abcdefghxyz")), st.integers(1, 12), st.integers(1, 12))
def test_moves_lead_back_to_the_list_before(old: list[str], new: list[str], cutoff: int, top: int) -> None:
    """Each arrow undone gives the rank that the document had; what is listed and what is cut follow the ranking."""
    before = pd.DataFrame({"docno": old, "rank": range(len(old))})
    _, _, *lines = list_stage(step(new, cutoff), before, {}, top).splitlines()
    listed = [line.split() for line in lines if not line.startswith("  cut:")]
    assert [docno for _, _, _, docno in listed] == new[:top]
    for rank, moved, _, docno in listed:
        shift = {"↑": 1, "↓": -1}.get(moved[0], 0) * int(moved[1:] or 0) if moved != "new" else None
        assert (docno in old) == (shift is not None)
        assert shift is None or old[int(rank) - 1 + shift] == docno
    cut = new[cutoff:]
    few = f"{', '.join(cut[:3])}{', …' if len(cut) > 3 else ''}"
    expected = [f"  cut: {count_of(len(cut), 'document')}, from rank {cutoff + 1}: {few}"] if cut else []
    assert [line for line in lines if line.startswith("  cut:")] == expected


@pytest.mark.parametrize("text", ["one  two\n\nthree", "x" * 100, "word " * 30, ""])
def test_a_text_is_cut_to_one_line(text: str) -> None:
    """White space is folded, and no text takes more than 60 characters."""
    line = list_stage(step(["a"], 1), None, {"a": text}, 1).splitlines()[2]
    shown = re.sub(r"^ +1 +1\.000 a *", "", line)
    assert len(shown) <= 60
    assert " ".join(text.split()).startswith(shown.removesuffix("…").strip())
    assert shown.endswith("…") == (len(" ".join(text.split())) > 60)


# --- widths


def test_two_columns_of_words_that_are_both_too_wide_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is listed with numbers; the second, padded to its width, stands after them."""
    monkeypatch.setenv("COLUMNS", "40")
    words = pd.DataFrame({"row": ["x" * 50, "y"], "told": ["z" * 60, "w"], "n": [1, 2]})
    lines = format_table(words, {}, left=["row", "told"]).splitlines()
    assert lines[:3] == ["row:", "1: " + "x" * 50, "2: y"]
    assert [line.split() for line in lines[4:7]] == [["row", "told"], ["1", "z" * 60], ["2", "w"]]


def test_a_wide_table_stands_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden: by hand; each block has the first column, and the blocks together are the whole table."""
    monkeypatch.setenv("COLUMNS", "40")
    assert cost_table(COST) == (
        "stage      docs in docs out model pairs\n"
        "bm25           0.0    876.2         0.0\n"
        "bi_encoder   876.2    100.0     1,876.2\n"
        "cascade        0.0    100.0     1,876.2\n"
        "\n"
        "stage      mean ms   p95 ms\n"
        "bm25          0.00     0.01\n"
        "bi_encoder   12.35 1,234.50\n"
        "cascade      12.35 1,234.57"
    )
    monkeypatch.setenv("COLUMNS", "80")
    assert cost_table(COST) == COST_TEXT


def test_texts_take_the_room_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line of a list is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    first, second = steps("running total", Cascade.of(ToyRetriever(docs=8, levels=4) % 5 >> ToyReranker(levels=4) % 1))
    for text in (list_stage(first, None, TEXTS, 10), list_stage(second, first.kept, TEXTS, 3)):
        rows = [line for line in text.splitlines()[1:] if not line.startswith("  cut:")]
        assert max(map(len, rows)) <= 40
        assert any(line.endswith("…") for line in rows)


def test_prose_breaks_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden: by hand; what follows is indented, long words and what is copied stay whole."""
    monkeypatch.setenv("COLUMNS", "40")
    text = "  Stages: 200 queries do not show whether a third stage pays\nshort\n" + "x" * 50
    broken = "  Stages: 200 queries do not show\n    whether a third stage pays\nshort\n" + "x" * 50
    assert wrap(text) == broken
    fix = "Fix: pt-cascade score --collection pydocs --out scores"
    assert wrap(f"  - a problem\n{fix}") == f"  - a problem\n{fix}"
    assert wrap(f"there is no table. {fix}") == f"there is no table.\n{fix}"


def test_a_file_has_80_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also a pipe, as POSIX terminals have; ``$COLUMNS`` says otherwise."""
    monkeypatch.delenv("COLUMNS")
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr("sys.__stdout__", file)
        assert line_width() == 80
    monkeypatch.setenv("COLUMNS", "120")
    assert line_width() == 120
