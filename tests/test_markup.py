"""Tables of notebooks and papers: golden texts by hand, hostile texts read back by parsers of other people."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.markup import Table

TABLE = Table(
    pd.DataFrame({"system": ["bm25 → 10", "a_b · 50%", "c"], "RR": [0.5, -0.25, 0.5004], "ms": [1.0, np.nan, 1234.5]}),
    "Three systems; † p < 0.05",
    {"RR": "{:.3f}".format, "ms": "{:,.1f}".format},
    best=["RR"],
    marks={"RR": [False, True, True]},
)


def test_latex_is_a_tabular_with_the_rules_of_booktabs() -> None:
    """Golden: by hand. The best is bold, also where two are written alike; signs of LaTeX are escaped, a minus is one."""
    assert TABLE.to_latex() == (
        "% Three systems; $\\dagger$ p $<$ 0.05\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "system & RR & ms \\\\\n"
        "\\midrule\n"
        "bm25 $\\rightarrow$ 10 & \\textbf{0.500} & 1.0 \\\\\n"
        "a\\_b $\\cdot$ 50\\% & $-$0.250$^{\\dagger}$ & - \\\\\n"
        "c & \\textbf{0.500}$^{\\dagger}$ & 1,234.5 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


def test_markdown_is_a_table_of_github() -> None:
    """Golden: by hand."""
    assert TABLE.to_markdown() == (
        "| system | RR | ms |\n"
        "|:---|---:|---:|\n"
        "| bm25 → 10 | **0.500** | 1.0 |\n"
        "| a_b · 50% | -0.250† | - |\n"
        "| c | **0.500**† | 1,234.5 |\n"
        "\n"
        "Three systems; † p \\< 0.05\n"
    )


class Reader(HTMLParser):
    """The elements of a page, and the text of its cells."""

    def __init__(self, page: str) -> None:
        """Read a page."""
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the names; begin a cell."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        """Add to the cell."""
        if self.cells:
            self.cells[-1] += data


ALLOWED = {"div", "p", "b", "table", "thead", "tbody", "tr", "td", "th", "sup"}
HOSTILE = [
    "</td><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><b>&amp;',
    "a|b`c`*d*",
    "\\input{/etc/passwd} $x$ 50% #1 ~ ^ {}",
    "[x](javascript:alert(1))",
    "{0.bold}",
    "__init__",
    "~~a~~",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_text_in_html(text: str) -> None:
    """Golden: Python's own parser finds no element but the table's, and reads the names as they are."""
    page = Reader(Table(pd.DataFrame({text: [text], "n": [1]}), text).to_html(text))
    assert page.tags <= ALLOWED
    assert page.attributes == {"class"}
    assert page.cells[0] == page.cells[2] == text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_text_in_markdown(text: str) -> None:
    """Golden: a parser of CommonMark and its tables, another project's, finds the cell as it is, and nothing else."""
    markdown = pytest.importorskip("markdown_it", reason="pip install markdown-it-py")
    page = (
        markdown.MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .render(Table(pd.DataFrame({text: [text]}), "Names").to_markdown())
    )
    found = Reader(page)
    assert found.tags <= ALLOWED
    assert found.cells[0].strip() == found.cells[1].partition("\n")[0].strip() == text


@given(st.text(st.characters(codec="ascii"), max_size=20))
def test_no_sign_of_latex_is_left_alone(text: str) -> None:
    """Golden: once the known escapes are taken away, no sign that LaTeX acts on is there, and a row is one line."""
    row = Table(pd.DataFrame({"x": [text]}), "-").to_latex().splitlines()[5]
    assert row.endswith(" \\\\")
    rest = re.sub(r"\\text(backslash|asciitilde|asciicircum)\{\}|\$[<>|-]\$|\\[&%$#_{}]|-\{\}|^\{\}", "", row.removesuffix(" \\\\"))
    assert not set(rest) & set("\\~^&%$#_{}<>|")
    assert "--" not in row


@pytest.mark.parametrize(
    ("text", "wanted"), [("[2pt] ≤ 5", "{}[2pt] $\\leq$ 5"), (" *", "{} *"), ("a---b \u22121", "a-{}-{}-b $-$1")]
)
def test_a_row_is_no_option_of_the_line_before(text: str, wanted: str) -> None:
    """By hand: LaTeX reads what follows a line's end and is in brackets as a length, a star as an option; two hyphens as a dash."""
    lines = Table(pd.DataFrame({text: [text]}), "-").to_latex().splitlines()
    assert lines[3] == lines[5] == f"{wanted} \\\\"


def test_a_paper_compiles(tmp_path: Path) -> None:
    """Golden: pdfLaTeX finds no error, and in any name."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("there is no pdflatex: apt-get install texlive-latex-base texlive-latex-recommended")
    names = [*HOSTILE, "[2pt] ≤ é", "*x", "a--b · → †"]
    hostile = Table(pd.DataFrame({"[1]": names, "*": [None, *names[1:]]}), "Names").to_latex()
    start = "\\documentclass[twocolumn]{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}\\begin{document}"
    (tmp_path / "paper.tex").write_text(f"{start}\n{TABLE.to_latex()}\n{hostile}\n\\end{{document}}\n", encoding="utf-8")
    words = [program, "-interaction=batchmode", "-halt-on-error", "paper.tex"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
    assert ran.returncode == 0, (tmp_path / "paper.log").read_text(encoding="utf-8", errors="replace")[-2000:]


def test_a_notebook_shows_fifteen_rows() -> None:
    """And says how many more there are; a table is never changed."""
    frame = pd.DataFrame({"n": range(40)})
    page = Table(frame, "-").to_html("Many")
    assert page.count("<tr>") == 16
    assert "25 more rows" in page
    assert Table(frame, "-").to_markdown().count("\n| ") == 40


def test_control_characters_are_shown_as_text() -> None:
    """Also those that turn the direction of a line."""
    table = Table(pd.DataFrame({"x": ["a\x1b[2J\u202eb\nc"]}), "-")
    for text in (table.to_html("\x1b"), table.to_latex(), table.to_markdown()):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "b\nc" not in text
