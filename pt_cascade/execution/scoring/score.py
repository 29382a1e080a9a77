"""Every pair that some cut-offs would have scored, scored once: a table that answers for all of them."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from pt_cascade.analysis.table.data import Column
from pt_cascade.analysis.table.tie_rules import EVERY_RULE, PLAIN, choose_rule
from pt_cascade.cascade.fingerprints import describe, fingerprint, hash_frame
from pt_cascade.errors import CascadeError, FrameError
from pt_cascade.execution.query_batches import split_queries
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.batch_invariance import QUERIES, check_batch_invariance, check_resumed, check_shared
from pt_cascade.execution.scoring.caching import add_caches
from pt_cascade.execution.scoring.checkpoint import open_checkpoint
from pt_cascade.execution.scoring.chunk import score_chunk
from pt_cascade.execution.scoring.plan import make_plan
from pt_cascade.execution.scoring.rows import warn_of_failed
from pt_cascade.execution.scoring.versions import versions
from pt_cascade.files import cache_folder
from pt_cascade.frames import canonical_input, canonical_topics

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    import pyterrier as pt

    from pt_cascade.analysis.table.tie_rules import TieRules
    from pt_cascade.execution.scoring.chunk import ChunkScores
    from pt_cascade.execution.scoring.plan import Depths, Plan


def score(  # noqa: PLR0913 - options, each with a default
    cascades: pt.Transformer | Sequence[pt.Transformer],
    topics: pd.DataFrame,
    depths: Depths | None = None,
    *,
    query_batch_size: int = 100,
    verbose: bool = False,
    tolerance: float = 1e-4,
    checkpoint: str | os.PathLike[str] | None = None,
    score_cache: str | os.PathLike[str] | None = None,
    about: Mapping[str, str] | None = None,
) -> ScoreTable:
    """Score each (query, document) pair once, so that every cut-off vector's ranking follows without running a model.

    Only the pairs that exactness requires are scored: of 1000 documents with K_2 = 100 about 330 a query reach the third stage. A
    few more calls check what replay relies on: of each stage at most 96 pairs are scored again among other rows, about 18 show how
    it breaks ties, and 8 of each cascade are scored again when a call goes on after a crash, or when cascades share stages. The
    first 3 queries are scored and checked before the others.

    Args:
        cascades: One pipeline or Cascade, or several that begin with an equal first stage. Equal stages share a column of scores. A
            last stage whose scores depend on other documents (pairwise, listwise) is not scored: see ``Cascade.finish``.
        topics: Frame[qid, query], or Frame[qid, query, docno, ...] of results to re-rank.
        depths: How deep to be able to cut: K_1, K_2, ... for each stage but the last of the longest cascade, or such a tuple for
            each cascade; each at least the cascade's own cut-off, None for all. Without: the cascades' own cut-offs.
        query_batch_size: Queries that go through the stages together, 1 or more. Each finished chunk is kept on the disk.
        verbose: Show a progress bar, which moves chunk by chunk.
        tolerance: How far a score a may move among other rows: tolerance * max(1, abs(a)).
        checkpoint: A folder where finished chunks are kept until the table is complete, and found after a crash; None: in the
            cache, under the fingerprint of stages, topics, depths, batch size and versions.
        score_cache: A folder where the scores of each re-ranking stage are kept for good, see ``stages.cached``: another table,
            with other depths or topics, asks only for what is new. A stage without a method ``identify()`` is not cached, which a
            warning says. None: nowhere.
        about: What the table should say of its origin, e.g. ``{"collection": "scifact"}``.

    Returns:
        The table. Stages of one name that differ are numbered.

    Raises:
        PipelineError: The cascades cannot be replayed: a stage that depends on other documents stands before others, a stage
            changes the documents, or orders equal scores by no known rule; or the depths are less than the cut-offs.
        StageError: A stage failed, or its scores depend on the other rows of a frame.
        TableError: Finished chunks in the folder are not of these stages.
        FrameError: The topics, or what a stage returned, are not usable.

    Warns:
        CascadeWarning: Scores are to be cached of a stage that does not say what it is, or a stage could not score some pairs.

    Example:
        >>> import pyterrier as pt
        >>> found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "bb", "c"], "score": [3.0, 2.0, 1.0], "rank": [0, 1, 2]})
        >>> length = pt.apply.doc_score(lambda row: len(row["docno"]))
        >>> table = score(pt.Transformer.from_df(found) % 3 >> length % 1, pd.DataFrame({"qid": ["1"], "query": ["q"]}))
        >>> table.frame["doc_score"].tolist()
        [1.0, 2.0, 1.0]
    """
    _check_options(query_batch_size, tolerance)
    topics = canonical_input(topics)
    asked = _list_queries(topics)
    plan = make_plan(cascades, depths)
    cached_plan = plan if score_cache is None else add_caches(plan, score_cache)
    parts = _describe_parts(plan, topics, query_batch_size)
    kept = open_checkpoint(cache_folder("scores", _hash_parts(parts)) if checkpoint is None else checkpoint, parts)
    chunks = split_queries(topics, query_batch_size, first=min(QUERIES, query_batch_size))
    finished = {number: scores for number, scores in kept.read().items() if number < len(chunks)}
    untested = check_resumed(plan, chunks, finished, kept.folder, tolerance)
    rules, invariant = _join_rules(finished.values()), set[str]()
    done = sum(chunks[number]["qid"].nunique() for number in finished)
    with tqdm(total=len(asked), initial=done, desc="score", unit="query", disable=not verbose) as bar:
        for number, chunk in enumerate(chunks):
            if number in finished:
                continue
            scores, steps = score_chunk(cached_plan, chunk, rules)
            for step in steps:
                name = step.stage.name
                if name not in invariant and len(step.ranked) and check_batch_invariance(step, tolerance):
                    invariant.add(name)
            untested = check_shared(plan, untested, chunk, scores, tolerance) if len(plan.paths) > 1 else []
            kept.write(number, scores)
            finished[number], rules = scores, scores.rules
            bar.update(chunk["qid"].nunique())
    table = _make_table(plan, asked, [finished[number] for number in range(len(chunks))], rules, about)
    kept.remove()
    warn_of_failed(table.failed)
    return table


def _check_options(query_batch_size: int, tolerance: float) -> None:
    problems = []
    if type(query_batch_size) is not int or query_batch_size < 1:
        problems.append(f"query_batch_size is {query_batch_size!r}, expected 1 or more queries")
    if type(tolerance) not in (int, float) or not 0 <= tolerance < math.inf:
        problems.append(f"tolerance is {tolerance!r}, expected 0 or more")
    if problems:
        raise CascadeError("nothing can be scored", problems, fix="score(cascade, topics, query_batch_size=100, tolerance=1e-4)")


def _list_queries(topics: pd.DataFrame) -> pd.DataFrame:
    """Give the queries, each once."""
    asked = topics if "query" in topics else topics.assign(query="")
    asked = asked.drop_duplicates(["qid", "query"]) if "docno" in topics else asked
    if not len(asked):
        raise FrameError("topics are not usable", ["there is no query"], fix='pd.DataFrame({"qid": ["1"], "query": ["..."]})')
    return canonical_topics(asked)[["qid", "query"]].reset_index(drop=True)


def _describe_parts(plan: Plan, topics: pd.DataFrame, query_batch_size: int) -> dict[str, str]:
    """Say what the table is made of, for the folder of its finished chunks."""
    return {
        "stages": json.dumps({stage.name: fingerprint(stage) for stage in plan.stages}),
        "depths": json.dumps([plan.depth, *([path.stages, path.depths] for path in plan.paths)]),
        "topics": hash_frame(topics),
        "query_batch_size": str(query_batch_size),
        "versions": json.dumps(versions()),
    }


def _hash_parts(parts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _join_rules(chunks: Iterable[ChunkScores]) -> Mapping[str, TieRules]:
    """Keep the tie rules that agree with the answers in all finished chunks."""
    rules: dict[str, TieRules] = {}
    for scores in chunks:
        for name, possible in scores.rules.items():
            rules[name] = rules.get(name, EVERY_RULE) & possible
    return rules


def _make_table(
    plan: Plan, asked: pd.DataFrame, chunks: Sequence[ChunkScores], rules: Mapping[str, TieRules], about: Mapping[str, str] | None
) -> ScoreTable:
    columns = []
    for stage in plan.stages:
        rule = choose_rule(rules[stage.name]) if stage.name in rules else PLAIN
        columns.append(Column(stage.name, rule, fingerprint(stage), describe(stage)))
    unused = [] if any("docid" in column.rule for column in columns) else ["docid"]
    frames = [scores.frame for scores in chunks if len(scores.frame)] or [chunks[0].frame]
    return ScoreTable(
        frame=pd.concat(frames, ignore_index=True).drop(columns=unused),
        topics=asked,
        columns=tuple(columns),
        paths=plan.paths,
        depth=plan.depth if any(scores.cut for scores in chunks) else None,
        about={**versions(loaded=True), **(about or {})},
    )
