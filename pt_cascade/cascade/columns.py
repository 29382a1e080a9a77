"""The error of a transformer whose input lacks columns: which ones, and how to add them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyterrier as pt

from pt_cascade.cascade.known import show
from pt_cascade.errors import StageError
from pt_cascade.frames import LOAD_TEXT, check_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

_CURES = {
    "qid": 'give it topics or results with a column qid, e.g. pd.DataFrame({"qid": ["1"], "query": ["heat flow"]})',
    "query": 'give the topics a column query, e.g. pd.DataFrame({"qid": ["1"], "query": ["heat flow"]})',
    "docno": "put a retriever before it, e.g. bm25(index) % 100 >> stage",
    "text": LOAD_TEXT,
}


class ColumnsError(pt.validate.InputValidationError, StageError):  # type: ignore[misc]
    """A transformer's input lacks columns; PyTerrier's inspection reads ``modes``."""

    __str__ = StageError.__str__
    __repr__ = StageError.__repr__

    def __init__(self, what: str, problems: Iterable[str] = (), *, fix: str = "", modes: Iterable[object] = ()) -> None:
        """Keep the parts."""
        StageError.__init__(self, what, problems, fix=fix)
        self.modes = list(modes)


@contextmanager
def explain_columns(stage: str, frame: pd.DataFrame, part: pt.Transformer | None = None) -> Iterator[None]:
    """Say of PyTerrier's validation error which columns ``part`` of a stage lacks in a frame, and how to add them."""
    try:
        yield
    except ColumnsError:
        raise
    except pt.validate.InputValidationError as error:
        ways = [_describe(mode.missing_columns, mode.extra_columns) for mode in error.modes]
        shown = "it" if part is None else f"{show(part):.60}"
        problem = f"{shown} needs {' or '.join(ways)}; its input has {', '.join(map(str, frame.columns)) or 'no columns'}"
        mode = error.modes[0]
        fix = _cure(mode.missing_columns) if mode.missing_columns else f"put pt.apply.{mode.extra_columns[0]}(drop=True) before it"
        raise ColumnsError(f"stage {stage!r} cannot run", [problem], fix=fix, modes=error.modes) from error


def check_input(stage: pt.Transformer, results: pd.DataFrame, columns: Iterable[str], texts: Iterable[str]) -> None:
    """Refuse results that lack one of the columns beside qid and docno, or a text in one of ``texts``."""
    with explain_columns(stage.stage_name, results):
        pt.validate.result_frame(results, extra_columns=list(dict.fromkeys(columns)), context=stage)
    for column in dict.fromkeys(texts):
        check_text(results, column, stage.stage_name)


def _describe(missing: list[str], extra: list[str]) -> str:
    wanted = [f"column{'s' * (len(missing) > 1)} {', '.join(missing)}"] if missing else []
    return " and ".join([*wanted, *(f"no column {name}" for name in extra)])


def _cure(missing: list[str]) -> str:
    known = next((name for name in _CURES if name in missing), None)
    other = f"put pt.apply.{missing[0]}(lambda row: ...) before it, or give the topics a column {missing[0]}"
    return _CURES[known] if known else other
