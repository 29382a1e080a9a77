"""The answer of a cascade whose last stage depends on the whole list: everything before it is replayed, only it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import check_cutoffs
from pt_cascade.cascade import Cascade, walk
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.cascade.known import find_dependence, keeps_ranking, look_up
from pt_cascade.cascade.steps import call
from pt_cascade.errors import TableError
from pt_cascade.frames import canonical_input
from pt_cascade.ranking import locate, rescore, same_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from pt_cascade.analysis.grid.cutoffs import Cutoff
    from pt_cascade.cascade import Stage
    from pt_cascade.execution.score_table import ScoreTable

    Loaders: TypeAlias = Sequence[tuple[Stage, pt.Transformer]]

_WHAT = "this cascade cannot be finished from a table"


def finish(
    table: ScoreTable, cascade: pt.Transformer, cutoffs: Sequence[Cutoff] | None = None, *, topics: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Give what a cascade answers at some cut-offs: its stages from the table, a last one that is not there live.

    What loads texts or vectors on the way to the last stage, or to what follows it, runs again, on what is left; a column that may
    differ there, such as a copy of an earlier score, is refused. Columns that a scorer itself adds, such as the metadata of a
    Terrier retriever, are not in a table: put a text loader before the last stage. A table's scores are float64, also where a
    stage gave float32.

    Args:
        table: The scores of all stages but the last, or of all.
        cascade: A Cascade, or any pipeline that ``Cascade.of`` reads.
        cutoffs: One a stage, each 1 or more, or None for no cut; without: the cascade's own.
        topics: What the live cascade would be given, where it needs more than qid and query.

    Returns:
        Frame[qid, docno, score, rank, ...], the ranking of the live cascade.

    Raises:
        TableError: The table lacks a stage, or does not cover the cut-offs; or what was loaded on the way cannot be loaded again.
        SweepError: These are no cut-offs.
        StageError: The last stage failed, or lacks a column.

    Example:
        >>> import pandas as pd
        >>> from pt_cascade.execution.scoring.score import score
        >>> asked = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> found = asked.merge(pd.DataFrame({"qid": "1", "docno": ["a", "b", "c"], "score": [3.0, 2.0, 1.0], "rank": [0, 1, 2]}))
        >>> backwards = pt.apply.doc_score(lambda row: row["rank"])
        >>> cascade = Cascade.of(pt.Transformer.from_df(found) % 3 >> backwards % 1).with_stage(1, depends="listwise")
        >>> finish(score(cascade, asked), cascade, (2, 1))["docno"].tolist()
        ['b']
    """
    whole = Cascade.of(cascade)
    whole = whole if cutoffs is None else whole.with_cutoffs(*check_cutoffs(cutoffs, [stage.name for stage in whole]))
    names = _columns(table, whole)
    replayed, live = table.replay(whole.cutoffs[: len(names)], stages=names), whole.stages[len(names) :]
    if not live and not whole.ending:
        return replayed
    given = _dress(replayed, whole.stages[: len(names)], table.topics if topics is None else topics)
    return whole.end(next(walk(live, given)).kept if live else given)


def _columns(table: ScoreTable, cascade: Cascade) -> list[str]:
    """Find the stages in the table: by what they are, or by name where the table does not know; only the last may be missing."""
    found: list[str | None] = []
    for stage in cascade:
        found.append(_find_column(table, stage, found))
    kept = find_dependence(cascade[-1]) not in ("pairwise", "listwise")
    needed = found if kept and found[-1] else found[:-1]
    if None in needed or not needed:
        lacking = ", ".join(repr(stage.name) for stage, name in zip(cascade, found, strict=True) if name is None)
        problem = f"it has {', '.join(table.stages)}; {cascade!r} needs {lacking or 'a stage before its last'} as well"
        raise TableError("the table does not hold this cascade", [problem], fix="table = score(cascade, topics)")
    return [name for name in needed if name is not None]


def _find_column(table: ScoreTable, stage: Stage, taken: Sequence[str | None]) -> str | None:
    """Find a stage by what it is, or by its name where the table does not know what it is."""
    known = fingerprint(stage)
    free = [column for column in table.columns if column.stage not in taken]
    alike = [
        column.stage for column in free if column.fingerprint == known or (not column.fingerprint and column.stage == stage.name)
    ]
    return stage.name if stage.name in alike else next(iter(alike), None)


def _dress(replayed: pd.DataFrame, stages: Sequence[Stage], topics: pd.DataFrame) -> pd.DataFrame:
    """Give replayed rows the columns that came with them on the way: of the topics, and of all that loads."""
    given = canonical_input(topics)
    first, *others = stages
    for part in first.transformers[: first.scorer % len(first.transformers)]:
        given = call(part, given, first.name)
    keys = ["qid", "docno"] if "docno" in given else ["qid"]
    brought = given.drop(columns=["score", "rank"], errors="ignore")
    bare = replayed.drop(columns=[name for name in replayed if name in brought and name not in keys])
    frame = bare.merge(brought, on=keys, how="left", validate="many_to_one")
    loaders = [(first, part) for part in first.transformers[first.scorer % len(first.transformers) + 1 :]]
    for stage in others:
        scorer = stage.scorer % len(stage.transformers)
        loaders += [(stage, part) for n, part in enumerate(stage.transformers) if n != scorer]
    loaders = [(stage, part) for stage, part in loaders if not isinstance(part, pt.RankCutoff)]
    dressed = _load(loaders, frame)
    if not all(
        look_up(part).role == "loader" and look_up(part).depends == "pointwise" and keeps_ranking(part) for _, part in loaders
    ):
        _refuse_other_columns(loaders, frame, dressed)
    return dressed


def _refuse_other_columns(loaders: Loaders, frame: pd.DataFrame, dressed: pd.DataFrame) -> None:
    """Load for each half of the rows with other scores and ranks: a column that then differs was another on the way."""
    for half, sign in ((slice(0, None, 2), 1), (slice(1, None, 2), -1)):
        few, before = frame.iloc[half].reset_index(drop=True), dressed.iloc[half].reset_index(drop=True)
        if few.empty:
            continue
        other = rescore(few, sign * np.arange(1e6, 1e6 + len(few), dtype=np.float64))
        again = _load(loaders, other.assign(rank=other["rank"] + 10**6 * (sign > 0)))
        for name in before.columns.difference(["score", "rank"]):
            try:
                pd.testing.assert_series_equal(before[name], again[name], rtol=1e-3, check_dtype=False)
            except (AssertionError, KeyError) as error:
                problem = f"column {name!r} depends on the score, rank or list that it is loaded for, and the table has others"
                raise TableError(_WHAT, [problem], fix="run(cascade, topics)") from error


def _load(loaders: Loaders, frame: pd.DataFrame) -> pd.DataFrame:
    """Run what stands beside the scorers for the columns that it adds; scores, ranks and rows stay those of the table."""
    for stage, part in loaders:
        loaded = call(part, frame, stage.name)
        if not same_pairs(frame, loaded):
            problem = f"{part!r} in stage {stage.name!r} changes the documents"
            raise TableError(_WHAT, [problem], fix="run(cascade, topics)")
        ordered = loaded.iloc[locate(frame, loaded)].reset_index(drop=True)
        frame = ordered.assign(score=frame["score"].to_numpy(), rank=frame["rank"].to_numpy())
    return frame
