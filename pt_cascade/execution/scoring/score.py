"""Scores every (query, document) pair that some cut-offs need once, into a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.table.data import Column
from pt_cascade.analysis.table.tie_rules import PLAIN, choose_rule
from pt_cascade.caches import cache_folder
from pt_cascade.cascade.fingerprints import describe, fingerprint, hash_frame
from pt_cascade.errors import CascadeError, FrameError, StageError, warn
from pt_cascade.execution.runner import split_queries
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.batch_invariance import QUERIES, check_batch_invariance, check_paths
from pt_cascade.execution.scoring.caching import add_caches
from pt_cascade.execution.scoring.checkpoint import open_checkpoint
from pt_cascade.execution.scoring.chunk import score_chunk
from pt_cascade.execution.scoring.plan import make_plan
from pt_cascade.execution.scoring.tie_rules import join_rules
from pt_cascade.execution.versions import versions
from pt_cascade.frames import canonical_input, canonical_topics
from pt_cascade.guards import show_rows
from pt_cascade.numbers import count_of, is_amount, is_whole
from pt_cascade.progress import show_progress

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import pyterrier as pt

    from pt_cascade.analysis.grid.cutoffs import Cutoff
    from pt_cascade.execution.scoring.checkpoint import Checkpoint
    from pt_cascade.execution.scoring.chunk import ChunkScores
    from pt_cascade.execution.scoring.plan import Plan


def score(  # noqa: PLR0913 - options, each with a default
    cascades: pt.Transformer | Sequence[pt.Transformer],
    topics: pd.DataFrame,
    depths: Sequence[Cutoff] | None = None,
    *,
    query_batch_size: int = 100,
    verbose: bool = False,
    tolerance: float = 1e-4,
    checkpoint: str | os.PathLike[str] | None = None,
    score_cache: str | os.PathLike[str] | None = None,
    about: Mapping[str, str] | None = None,
    watch: Callable[[ScoreTable], object] | None = None,
) -> ScoreTable:
    """Score each (query, document) pair once, so that the ranking at any cut-offs follows without running a model.

    Only the pairs that some cut-offs need are scored: with K_1 = 1000 and K_2 = 100, about 330 documents a query reach the third
    stage. A few more calls check each stage: at most 96 pairs for batch invariance, 16 for its tie rule, and 8 of each
    cascade after a crash or where cascades share stages. The first 3 queries are scored and checked first.

    A query that a stage with ``on_error="keep"`` fails on, or has no time for, is left out of the table, see ``Cascade.options``.

    Args:
        cascades: One pipeline or Cascade, or several with an equal first stage. Equal stages share a column of scores. A pairwise
            or listwise last stage is not scored: see ``Cascade.finish``.
        topics: Frame[qid, query], or Frame[qid, query, docno, ...] of results to re-rank.
        depths: The largest cut-offs to cover: K_1, K_2, ... for each stage but the last of the longest cascade; at least the
            cascades' own, None for no limit. Default: the cascades' own cut-offs.
        query_batch_size: Queries that pass the stages together, 1 or more. Each finished batch is saved.
        verbose: Show a progress bar.
        tolerance: How far a score a may differ among other rows: tolerance * max(1, abs(a)).
        checkpoint: A folder for finished batches, from which a call resumes after a crash; default: in the cache, by stages,
            topics, depths, batch size and versions. It is removed when the table is complete; a second call for the
            same table waits until the first ends, and takes its scores.
        score_cache: A folder that keeps the scores of each re-ranking stage for other tables, see ``stages.cached``; a stage
            without a method ``identify()`` is not cached.
        about: The table's origin, e.g. ``{"collection": "scifact"}``.
        watch: Called after each new batch with the table of the queries scored so far.

    Returns:
        The table. Different stages of the same name are numbered.

    Raises:
        PipelineError: The cascades cannot be replayed: a pairwise or listwise stage is not last, a stage changes the documents or
            orders equal scores by no known rule, or the depths are below the cut-offs.
        StageError: A stage failed, or its scores depend on the other rows of the frame.
        TableError: The checkpoint is of another table, or damaged.
        FrameError: The topics, or the results of a stage, are not usable.

    Warns:
        CascadeWarning: A stage cannot be cached, or could not score some pairs, or queries are left out.

    Example:
        >>> import pyterrier as pt
        >>> found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "bb", "c"], "score": [3.0, 2.0, 1.0], "rank": [0, 1, 2]})
        >>> length = pt.apply.doc_score(lambda row: len(row["docno"]))
        >>> table = score(pt.Transformer.from_df(found) % 3 >> length % 1, pd.DataFrame({"qid": ["1"], "query": ["q"]}))
        >>> table.frame["doc_score"].tolist()
        [1.0, 2.0, 1.0]
    """
    _check_options(query_batch_size, tolerance, about, watch)
    topics = canonical_input(topics)
    asked = _list_queries(topics)
    plan = make_plan(cascades, depths)
    stages = plan.stages.values() if score_cache is None else add_caches(plan.stages.values(), score_cache)
    cached_plan = replace(plan, stages={stage.name: stage for stage in stages})
    prints = {name: fingerprint(stage) for name, stage in plan.stages.items()}
    parts = {
        "stages": json.dumps(prints),
        "depths": json.dumps([plan.depth, *([path.stages, path.depths] for path in plan.paths)]),
        "topics": hash_frame(topics),
        "query_batch_size": str(query_batch_size),
        "versions": json.dumps(versions()),
    }
    if options := [(one.name, one.on_error, one.time_limit_ms) for one in plan.stages.values() if one.runs_by_query]:
        parts["options"] = json.dumps(options)
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    batches = split_queries(topics, query_batch_size, first=min(QUERIES, query_batch_size))
    with open_checkpoint(cache_folder("scores", key[:16]) if checkpoint is None else checkpoint, parts) as kept:

        def look(done: Mapping[int, ChunkScores]) -> None:
            scored = asked[asked["qid"].isin({qid for number in done for qid in batches[number]["qid"]})]
            if watch is not None and len(scored) > len({qid for scores in done.values() for qid in scores.left_out}):
                watch(_make_table(plan, prints, scored, [done[number] for number in sorted(done)], about))

        finished = _score_batches(plan, cached_plan, batches, kept, tolerance, look, verbose=verbose)
        table = _make_table(plan, prints, asked, finished, about)
        kept.remove()
    _warn_left_out(finished)
    for name in table.stages:
        if (failed := np.isneginf(table.frame[name].to_numpy())).any():
            message = f"stage {name!r} failed{show_rows(table.frame, failed)}: they rank below the others; see table.failed"
            warn(message)
    return table


def _score_batches(
    plan: Plan,
    cached_plan: Plan,
    batches: Sequence[pd.DataFrame],
    kept: Checkpoint,
    tolerance: float,
    look: Callable[[Mapping[int, ChunkScores]], None],
    *,
    verbose: bool,
) -> list[ChunkScores]:
    """Score and save the batches that the checkpoint lacks."""
    sizes = [batch["qid"].nunique() for batch in batches]
    finished = kept.read()
    resumed = [(batches[number], scores) for number, scores in finished.items()]
    untested = check_paths(plan, plan.paths, resumed, tolerance, checkpoint=kept.folder)
    invariant, rules = set[str](), join_rules(scores.rules for scores in finished.values())
    done = sum(sizes[number] for number in finished)
    try:
        with show_progress("score", "query", sum(sizes), shown=verbose, done=done) as bar:
            for number in (number for number in range(len(batches)) if number not in finished):
                scores, steps = score_chunk(cached_plan, batches[number], rules)
                for step in steps:
                    name = step.stage.name
                    if name not in invariant and len(step.ranked) and check_batch_invariance(step, tolerance):
                        invariant.add(name)
                scored = [(batches[number], scores)]
                untested = check_paths(plan, untested, scored, tolerance) if len(plan.paths) > 1 else []
                kept.write(number, scores)
                finished[number] = scores
                rules = join_rules([rules, scores.rules])
                bar.update(sizes[number])
                look(finished)
    except BaseException as error:
        if finished:
            saved = f"{sum(sizes[number] for number in finished)} of {sum(sizes)} queries are scored and saved"
            error.add_note(f"{saved}: the same call of score, or the same command, goes on from there")
        raise
    return [finished[number] for number in range(len(batches))]


def _check_options(query_batch_size: int, tolerance: float, about: object, watch: object) -> None:
    problems = []
    if not is_whole(query_batch_size, least=1):
        problems.append(f"query_batch_size is {query_batch_size!r}, expected 1 or more queries")
    if not is_amount(tolerance):
        problems.append(f"tolerance is {tolerance!r}, expected 0 or more")
    if not isinstance(about, Mapping | None):
        problems.append(f"about is {about!r:.60}, expected a dict of texts, or None")
    if not (watch is None or callable(watch)):
        problems.append(f"watch is {watch!r:.60}, expected a function of a table, or None")
    if problems:
        raise CascadeError("scoring cannot start", problems, fix="score(cascade, topics, query_batch_size=100, tolerance=1e-4)")


def _warn_left_out(batches: Sequence[ChunkScores]) -> None:
    if left_out := {qid: why for scores in batches for qid, why in scores.left_out.items()}:
        qid, why = next(iter(left_out.items()))
        message = f"the table leaves out {count_of(len(left_out), 'query')} that a stage could not score, first qid {qid!r}: {why}"
        warn(message)


def _list_queries(topics: pd.DataFrame) -> pd.DataFrame:
    """Return each query once."""
    asked = topics if "query" in topics else topics.assign(query="")
    if "docno" in topics:
        asked = canonical_topics(asked.drop_duplicates(["qid", "query"]))
    if not len(asked):
        raise FrameError("topics are not usable", ["there is no query"], fix='pd.DataFrame({"qid": ["1"], "query": ["..."]})')
    return asked[["qid", "query"]].reset_index(drop=True)


def _make_table(
    plan: Plan,
    prints: Mapping[str, str],
    asked: pd.DataFrame,
    batches: Sequence[ChunkScores],
    about: Mapping[str, str] | None,
) -> ScoreTable:
    rules = join_rules(scores.rules for scores in batches)
    columns = tuple(
        Column(name, choose_rule(rules.get(name, frozenset({PLAIN}))), prints[name], describe(stage))
        for name, stage in plan.stages.items()
    )
    unused = [] if any("docid" in column.rule for column in columns) else ["docid"]
    frames = [scores.frame for scores in batches if len(scores.frame)] or [batches[0].frame]
    left_out = {qid: why for scores in batches for qid, why in scores.left_out.items()}
    if len(left_out) == len(asked):
        problem = f"all {count_of(len(asked), 'query')} were left out; the first: {next(iter(left_out.values()))}"
        raise StageError("no query could be scored", [problem], fix="score(cascade.options(on_error='raise'), topics)")
    return ScoreTable(
        frame=pd.concat(frames, ignore_index=True).drop(columns=unused),
        topics=asked[~asked["qid"].isin(left_out)].reset_index(drop=True),
        columns=columns,
        paths=plan.paths,
        depth=plan.depth if any(scores.cut for scores in batches) else None,
        about={**versions(loaded=True), **(about or {})},
    )
