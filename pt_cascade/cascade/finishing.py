"""A cascade's results from a score table: the stages in the table are replayed, a last stage that is not in it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.analysis.fusion.stage_fusion import rename_stages
from pt_cascade.analysis.replay.replay import replay
from pt_cascade.analysis.table.checks import check_queries
from pt_cascade.cascade.calls import call
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.cascade.known import find_dependence, keeps_ranking, look_up
from pt_cascade.cascade.steps import run_ending, run_steps
from pt_cascade.errors import TableError
from pt_cascade.frames import canonical_input
from pt_cascade.pruning import Prune
from pt_cascade.ranking import locate, rescore, same_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Tail
    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.cascade.stage import Stage

    Loaders: TypeAlias = Sequence[tuple[Stage, pt.Transformer]]

_WHAT = "this cascade cannot be finished from a table"


def finish_stages(
    stages: Sequence[Stage],
    ending: Sequence[pt.Transformer],
    table: Scores,
    topics: pd.DataFrame | None,
    *,
    tail: Tail,
    fusion: StageFusion | None,
) -> pd.DataFrame:
    """Replay the stages that are in the table, run a last one that is not, then the ending; see ``Cascade.finish``."""
    if topics is not None and "query" in (given := canonical_input(topics)):
        check_queries(table, given.drop_duplicates("qid"))
    names = _find_columns(table, stages)
    done, left = stages[: len(names)], stages[len(names) :]
    if fusion is not None and left:
        problem = f"the scores of the last stage, {stages[-1].name!r}, are not in the table, so they are not fused from it"
        raise TableError(_WHAT, [problem], fix="run(cascade, topics)")
    renamed = rename_stages(fusion, {stage.name: name for stage, name in zip(stages, names, strict=False)})
    rules = {name: stage.rule for name, stage in zip(names, done, strict=True) if stage.rule is not None}
    cutoffs = [stage.cutoff for stage in done]
    replayed, below = replay(table, cutoffs, tail=tail, stages=names, fusion=renamed, prune=rules), None
    if tail == "keep":
        cut_by = replayed["cut_by"].replace(dict(zip(names, [stage.name for stage in done], strict=True))).astype("str")
        replayed = replayed.assign(cut_by=cut_by)
    if not left and not ending:
        return replayed
    if tail == "keep":
        replayed, below = replayed[cut_by == ""].drop(columns="cut_by"), replayed[cut_by != ""]
    results = _add_columns(replayed, done, table.topics if topics is None else topics)
    return run_ending(ending, run_steps(left, results, tail, below=below))


def _find_columns(table: Scores, stages: Sequence[Stage]) -> list[str]:
    """Name the table's column of each stage; only a last stage may have none."""
    found: list[str | None] = []
    for stage in stages:  # by fingerprint, or by name where the table has no fingerprint
        known, free = fingerprint(stage), [column for column in table.columns if column.stage not in found]
        alike = [one.stage for one in free if (one.fingerprint == known if one.fingerprint else one.stage == stage.name)]
        found.append(stage.name if stage.name in alike else next(iter(alike), None))
    in_table = found[-1] and (len(stages) == 1 or find_dependence(stages[-1]) not in ("pairwise", "listwise"))
    needed = found if in_table else found[:-1]
    if None in needed or not needed:
        lacking = ", ".join(repr(stage.name) for stage, name in zip(stages, found, strict=True) if name is None)
        cascade = " · ".join(map(repr, stages))
        problem = f"it has {', '.join(table.stages)}; {cascade} needs {lacking or 'a stage before its last'} as well"
        raise TableError("the table does not hold this cascade", [problem], fix="table = score(cascade, topics)")
    return [name for name in needed if name is not None]


def _add_columns(replayed: pd.DataFrame, stages: Sequence[Stage], topics: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of the topics, and those of everything in the stages that loads."""
    given = canonical_input(topics)
    first, *others = stages
    for part in first.transformers[: first.scorer]:
        given = call(part, given, first.name)
    keys = ["qid", "docno"] if "docno" in given else ["qid"]
    brought = given.drop(columns=["score", "rank"], errors="ignore")
    bare = replayed.drop(columns=[name for name in replayed if name in brought and name not in keys])
    frame = bare.merge(brought, on=keys, how="left", validate="many_to_one")
    loaders = [(first, part) for part in first.transformers[first.scorer + 1 :]]
    loaders += [(stage, part) for stage in others for n, part in enumerate(stage.transformers) if n != stage.scorer]
    loaders = [(stage, part) for stage, part in loaders if not isinstance(part, pt.RankCutoff | Prune)]
    loaded = _load(loaders, frame)
    known = [look_up(part) for _, part in loaders]
    by_row = all(one.role == "loader" and one.depends == "pointwise" for one in known)
    if not (by_row and all(keeps_ranking(part) for _, part in loaders)):
        _refuse_other_columns(loaders, frame, loaded)
    return loaded


def _refuse_other_columns(loaders: Loaders, frame: pd.DataFrame, loaded: pd.DataFrame) -> None:
    """Load each half of the rows with other scores and ranks, and refuse a column that then differs."""
    for half, sign in ((slice(0, None, 2), 1), (slice(1, None, 2), -1)):
        few, before = frame.iloc[half].reset_index(drop=True), loaded.iloc[half].reset_index(drop=True)
        if few.empty:
            continue
        other = rescore(few, sign * np.arange(1e6, 1e6 + len(few), dtype=np.float64))
        again = _load(loaders, other.assign(rank=other["rank"] + 10**6 * (sign > 0)))
        for name in before.columns.difference(["score", "rank"]):
            try:
                pd.testing.assert_series_equal(before[name], again[name], rtol=1e-3, check_dtype=False)
            except (AssertionError, KeyError) as error:
                problem = (
                    f"column {name!r} depends on the scores, ranks or rows that it is loaded for, which a replay does not have"
                )
                raise TableError(_WHAT, [problem], fix="run(cascade, topics)") from error


def _load(loaders: Loaders, frame: pd.DataFrame) -> pd.DataFrame:
    """Run the transformers beside the scorers for the columns that they add; scores, ranks and rows stay as they are."""
    for stage, part in loaders:
        loaded = call(part, frame, stage.name)
        if not same_pairs(frame, loaded):
            problem = f"{part!r} in stage {stage.name!r} changes the documents"
            raise TableError(_WHAT, [problem], fix="run(cascade, topics)")
        ordered = loaded.iloc[locate(frame, loaded)].reset_index(drop=True)
        frame = ordered.assign(score=frame["score"].to_numpy(), rank=frame["rank"].to_numpy())
    return frame
