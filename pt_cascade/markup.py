"""Tables for notebooks and papers, as HTML, LaTeX and Markdown; tables for a terminal are in ``reporting``."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from pt_cascade.errors import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MOST = 15  # rows in a notebook
_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
}
_LATEX |= {sign: f"${sign}$" for sign in "<>|"} | {"-": "$-$", "\u2212": "$-$", "≤": "$\\leq$", "≥": "$\\geq$"}
_LATEX |= {"→": "$\\rightarrow$", "·": "$\\cdot$", "†": "$\\dagger$"}


class _Style(NamedTuple):
    """How a text becomes part of a document, and what is around a bold one and after a marked one."""

    clean: Callable[[str], str]
    bold: str
    mark: str


def _clean_latex(text: str) -> str:
    """Escape the signs of LaTeX, and write a minus as one; two hyphens are no dash."""
    text = re.sub(r"[\\~^→·†≤≥\u2212&%$#_{}<>|]|(?<![\w-])-(?=\d)", lambda sign: _LATEX[sign[0]], text)
    return text.replace("--", "-{}-").replace("--", "-{}-")


def _clean_markdown(text: str) -> str:
    """Escape what GitHub's Markdown or the HTML in it would act on; an underscore within a word is text."""
    return re.sub(r"[\\`*|<&$~]|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


_HTML = _Style(html.escape, "<b>{}</b>", "<sup>†</sup>")
_TEX = _Style(_clean_latex, "\\textbf{{{}}}", "$^{\\dagger}$")
_MARKDOWN = _Style(_clean_markdown, "**{}**", "†")


@dataclass(frozen=True, eq=False)
class Table:
    r"""A table for a notebook or a paper: all texts are escaped, numbers are formatted, and no value is "-".

    Attributes:
        frame: The rows and columns that are shown.
        caption: What they are.
        formats: By column, how a number is written.
        best: Columns whose largest value is bold, with all that are written alike.
        marks: By column, which rows have a dagger.

    Example:
        >>> table = Table(pd.DataFrame({"stage": ["bi_encoder", "t5"], "RR": [0.25, 0.5]}), "Two stages", best=["RR"])
        >>> print(table.to_markdown())
        | stage | RR |
        |:---|---:|
        | bi_encoder | 0.25 |
        | t5 | **0.5** |
        <BLANKLINE>
        Two stages
    """

    frame: pd.DataFrame
    caption: str
    formats: Mapping[str, Callable[[float], str]] = field(default_factory=dict)
    best: Sequence[str] = ()
    marks: Mapping[str, Sequence[bool]] = field(default_factory=dict)

    def to_html(self, heading: str) -> str:
        """Return HTML without script or style, of at most 15 rows."""
        head, *rows = self._write(_HTML)
        lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows[:_MOST]]
        more = f"<p>… and {len(rows) - _MOST:,} more rows</p>" if len(rows) > _MOST else ""
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        top = "".join(f"<th>{cell}</th>" for cell in head)
        table = f'<table class="dataframe"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
        heading, caption = (html.escape(_flatten(text)) for text in (heading, self.caption))
        return f"<div><p><b>{heading}</b></p>{table}{more}<p>{caption}</p></div>"

    def to_latex(self) -> str:
        r"""Return a ``tabular`` with the rules of the LaTeX package booktabs, after the caption as a comment."""
        lines = [" & ".join(row) + " \\\\" for row in self._write(_TEX)]
        head, *body = ["{}" * line.lstrip().startswith(("[", "*")) + line for line in lines]  # no option of the line before
        columns = "".join("r" if right else "l" for right in self._right)
        lines = [f"% {_clean_latex(_flatten(self.caption))}", f"\\begin{{tabular}}{{{columns}}}", "\\toprule", head, "\\midrule"]
        return "\n".join([*lines, *body, "\\bottomrule", "\\end{tabular}", ""])

    def to_markdown(self) -> str:
        """Return a table of GitHub's Markdown, and the caption below it."""
        head, *body = [f"| {' | '.join(row)} |" for row in self._write(_MARKDOWN)]
        rule = f"|{'|'.join('---:' if right else ':---' for right in self._right)}|"
        return "\n".join([head, rule, *body, "", _clean_markdown(_flatten(self.caption)), ""])

    @property
    def _right(self) -> list[bool]:
        """Whether each column holds numbers."""
        return [pd.api.types.is_numeric_dtype(self.frame[name]) for name in self.frame]

    def _write(self, style: _Style) -> list[list[str]]:
        """Return the names of the columns and the cells of each row."""
        columns = [[style.clean(_flatten(str(name))), *self._write_column(str(name), style)] for name in self.frame]
        return [list(row) for row in zip(*columns, strict=True)]

    def _write_column(self, name: str, style: _Style) -> list[str]:
        """Return the cells of a column."""
        values, show = self.frame[name], self.formats.get(name, str)
        texts = ["-" if pd.isna(value) else _flatten(show(value)) for value in values]
        top = show(values.max()) if name in self.best and len(values) > 1 and values.notna().any() else None
        marks = self.marks.get(name, [False] * len(texts))
        cells = [style.bold.format(style.clean(text)) if text == top else style.clean(text) for text in texts]
        return [cell + style.mark * bool(marked) for cell, marked in zip(cells, marks, strict=True)]


def _flatten(text: str) -> str:
    """Return a text on one line that cannot control what shows it."""
    return escape(re.sub(r"\s", " ", text))


class Shown:
    """What shows itself in a notebook, and prints as a table of a paper."""

    def tabulate(self) -> Table:
        """Return the table that stands for it."""
        raise NotImplementedError

    def to_latex(self) -> str:
        r"""Return ``tabulate()`` as a LaTeX ``tabular``; ``\usepackage{booktabs}`` has its rules."""
        return self.tabulate().to_latex()

    def to_markdown(self) -> str:
        """Return ``tabulate()`` as a table of GitHub's Markdown."""
        return self.tabulate().to_markdown()

    def _repr_html_(self) -> str:
        """Show a heading and the table, offline and without a script."""
        return self.tabulate().to_html(repr(self))
