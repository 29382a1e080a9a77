"""How one stage re-ordered the documents of the stage before it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.cascade.fusing import show_stages
from pt_cascade.numbers import count_of
from pt_cascade.reporting.tables import format_table
from pt_cascade.reporting.widths import line_width

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_cascade.cascade import Step

_WIDTH, _LEAST = 60, 10


def list_stage(step: Step, before: pd.DataFrame | None, texts: Mapping[str, str], top: int) -> str:
    """Show one stage's work on one query: its list, how each document moved, what its cut-off removed, and the time."""
    ranked = step.ranked.sort_values("rank", kind="stable")
    listed = ranked.head(top)
    old = {} if before is None else dict(zip(before["docno"], before["rank"], strict=True))
    table = pd.DataFrame(
        {
            "rank": [str(rank + 1) for rank in listed["rank"]],
            "moved": [_moved(old.get(docno), rank) for docno, rank in zip(listed["docno"], listed["rank"], strict=True)],
            "score": [f"{score:.3f}" for score in listed["score"]],
            "docno": listed["docno"].tolist(),
        }
    )
    shown = table if before is not None else table.drop(columns="moved")
    bare = format_table(shown, {}, left=("rank", "docno"))
    room = max(min(_WIDTH, line_width() - len("   ") - max(map(len, bare.splitlines()))), _LEAST)
    shown = shown.assign(text=[textwrap.shorten(texts.get(docno, ""), room, placeholder=" …") for docno in listed["docno"]])
    body = format_table(shown, {}, left=("rank", "docno", "text")) if len(shown) else "no document"
    return f"{_headline(step)}\n{textwrap.indent(body, '  ')}\n{_cut(step, ranked)}"


def _headline(step: Step) -> str:
    pairs = f", {len(step.pairs):,} model pairs" if len(step.pairs) else ""
    name = show_stages([step.stage], step.fusion)
    return f"{name}   ({step.ms:.1f} ms{pairs}; {len(step.ranked):,} ranked, {len(step.kept):,} passed on)"


def _cut(step: Step, ranked: pd.DataFrame) -> str:
    cut = ranked["docno"].iloc[len(step.kept) :]
    if not len(cut):
        return ""
    few = ", ".join(cut.head(3))
    return f"  cut: {count_of(len(cut), 'document')}, from rank {len(step.kept) + 1}: {few}{', …' if len(cut) > 3 else ''}\n"  # noqa: PLR2004


def _moved(old: int | None, new: int) -> str:
    if old is None:
        return "new"
    if old == new:
        return "="
    return f"↑{old - new}" if new < old else f"↓{new - old}"
