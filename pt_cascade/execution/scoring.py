"""Every pair that some cut-offs would have scored, scored once: a table that answers for all of them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from pt_cascade.analysis.duels import join_duels
from pt_cascade.analysis.tables import Column, ScoreTable
from pt_cascade.analysis.tie_rules import EVERY_RULE, PLAIN, choose_rule
from pt_cascade.cascade.fingerprints import describe, fingerprint, hash_frame
from pt_cascade.errors import CascadeError, FrameError, PipelineError, TableError
from pt_cascade.execution.company import check_company, pick_spot, retrace
from pt_cascade.execution.comparing import Duelling
from pt_cascade.execution.keeping import keep_scores
from pt_cascade.execution.partial import Partial, open_partial
from pt_cascade.execution.plans import make_plan, warn_of_duels
from pt_cascade.execution.rematch import check_comparison
from pt_cascade.execution.rows import split_queries, warn_of_failed
from pt_cascade.execution.sheets import fill_sheet
from pt_cascade.execution.versions import versions
from pt_cascade.files import cache_folder, rm_command
from pt_cascade.frames import canonical_input, canonical_topics

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyterrier as pt

    from pt_cascade.analysis.tables import Path
    from pt_cascade.analysis.tie_rules import TieRules
    from pt_cascade.cascade import Step
    from pt_cascade.execution.plans import Depths, Plan
    from pt_cascade.execution.sheets import Sheet


def score(  # noqa: PLR0913 - options, each with a default
    cascades: pt.Transformer | Sequence[pt.Transformer],
    topics: pd.DataFrame,
    depths: Depths | None = None,
    *,
    batch_size: int = 100,
    verbose: bool = False,
    tolerance: float = 1e-4,
    folder: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    about: Mapping[str, str] | None = None,
) -> ScoreTable:
    """Score once, and know what any cut-offs would have given.

    Each (query, document, stage) is scored once, over all cascades, and only the pairs that exactness needs: of 1000 documents with
    K_2 = 100 about 330 a query reach the third stage. A few more calls check what replay relies on: at most 96 pairs of each stage
    are scored again among other rows (``check_company``), about 18 show how it breaks ties (``probe_copies``, ``settle``), and 8 of
    a path are scored again when a call goes on after a crash, or when cascades share stages (16 of one with a pairwise stage, and
    24 of its duels).

    A last stage that compares documents (a ``PairReranker``, such as ``duo_t5``) is asked once about each two documents, in both
    orders, that some cut-offs hand it together; what it said is kept, and adds up to its scores for any of these cut-offs. Of n
    documents that a single stage hands on these are n(n - 1) duels a query; at depths (1000, 100, 20) about 2,000 of real stages,
    where these cut-offs alone need 380. Up to 96 are compared again (``check_comparison``), up to 4 documents of a query are ranked
    by the stage itself, and its ties are tried with made-up answers.

    Args:
        cascades: One pipeline or Cascade, or several that begin with an equal first stage. Equal stages share a column of scores. A
            last stage that depends on the whole list in any other way is not scored: see ``finish``.
        topics: Frame[qid, query], or Frame[qid, query, docno, ...] of results to re-rank.
        depths: How deep to be able to cut: K_1, K_2, ... for each stage but the last of the longest cascade, or such a tuple for
            each cascade; each at least the cascade's own cut-off, None for all. Without: the cascades' own cut-offs.
        batch_size: Queries that go through the stages together, 1 or more. Each finished batch is kept on the disk.
        verbose: Show a progress bar, which moves batch by batch.
        tolerance: How far a score a may move in other company: tolerance * max(1, abs(a)).
        folder: Where finished batches are kept until the table is complete, and found after a crash; None: in the cache, under the
            fingerprint of stages, topics, depths, batch size and versions.
        store: A folder where the scores of each re-ranking stage, and what a ``PairReranker`` says of two documents, are kept for
            good, see ``stages.cached``: another table, with other depths or topics, asks only for what is new. A stage without a
            method ``identify()`` is run and not kept, which a warning says. None: nowhere.
        about: What the table should say of its origin, e.g. ``{"collection": "scifact"}``.

    Returns:
        The table. Stages of one name that differ are numbered.

    Raises:
        PipelineError: The cascades cannot be replayed: a list or pair stage stands before others, a stage changes the documents, or
            how it orders equal scores cannot be told; or the depths are less than the cut-offs; or scores are to be kept of which
            nobody knows what they depend on.
        StageError: A stage failed, or could not score a document and has no ``on_error="keep"``, or its scores depend on company.
        TableError: Finished batches in the folder are not of these stages.
        FrameError: The topics, or what a stage returned, are not usable.

    Warns:
        CascadeWarning: More than 100 documents of a query may be handed to a stage that compares each two of them; or scores are to
            be kept of a stage that does not say what it is; or a stage that may go on failed on what ``table.failed`` lists.

    Example:
        >>> import pyterrier as pt
        >>> found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "bb", "c"], "score": [3.0, 2.0, 1.0], "rank": [0, 1, 2]})
        >>> length = pt.apply.doc_score(lambda row: len(row["docno"]))
        >>> table = score(pt.Transformer.from_df(found) % 3 >> length % 1, pd.DataFrame({"qid": ["1"], "query": ["q"]}))
        >>> table.frame["doc_score"].tolist()
        [1.0, 2.0, 1.0]
    """
    _check_options(batch_size, tolerance)
    topics = canonical_input(topics)
    asked = _asked(topics)
    plan = make_plan(cascades, depths)
    warn_of_duels(plan)
    kept = plan if store is None else keep_scores(plan, store)
    parts = _parts(plan, topics, batch_size)
    partial = open_partial(cache_folder("scores", _key(parts)) if folder is None else folder, parts)
    chunks = split_queries(topics, batch_size)
    sheets = {number: sheet for number, sheet in partial.sheets().items() if number < len(chunks)}
    rules: Mapping[str, TieRules] = _combine(sheets.values())
    unseen = _check_resumed(plan, chunks, sheets, partial, tolerance)
    watch = _watch(tolerance)
    done = sum(chunks[number]["qid"].nunique() for number in sheets)
    with tqdm(total=len(asked), initial=done, desc="score", unit="query", disable=not verbose) as bar:
        for number, chunk in enumerate(chunks):
            if number in sheets:
                continue
            sheet = fill_sheet(kept, chunk, rules, watch)
            unseen = _check_shared(plan, unseen, chunk, sheet, tolerance) if len(plan.paths) > 1 else []
            partial.write(number, sheet)
            sheets[number], rules = sheet, sheet.rules
            bar.update(chunk["qid"].nunique())
    table = _table(plan, asked, [sheets[number] for number in range(len(chunks))], rules, about)
    partial.remove()
    warn_of_failed(table.failed)
    return table


def _check_options(batch_size: int, tolerance: float) -> None:
    problems = []
    if type(batch_size) is not int or batch_size < 1:
        problems.append(f"batch_size is {batch_size!r}, expected 1 or more queries")
    if type(tolerance) not in (int, float) or not 0 <= tolerance < math.inf:
        problems.append(f"tolerance is {tolerance!r}, expected 0 or more")
    if problems:
        raise CascadeError("nothing can be scored", problems, fix="score(cascade, topics, batch_size=100, tolerance=1e-4)")


def _asked(topics: pd.DataFrame) -> pd.DataFrame:
    """Give the queries, each once."""
    asked = topics if "query" in topics else topics.assign(query="")
    asked = asked.drop_duplicates(["qid", "query"]) if "docno" in topics else asked
    if not len(asked):
        raise FrameError("topics are not usable", ["there is no query"], fix='pd.DataFrame({"qid": ["1"], "query": ["..."]})')
    return canonical_topics(asked)[["qid", "query"]].reset_index(drop=True)


def _parts(plan: Plan, topics: pd.DataFrame, batch_size: int) -> dict[str, str]:
    """Say what the table is made of, for the folder of its finished chunks."""
    return {
        "stages": json.dumps({stage.name: fingerprint(stage) for stage in plan.stages}),
        "depths": json.dumps([plan.depth, *([path.stages, path.depths] for path in plan.paths)]),
        "topics": hash_frame(topics),
        "batch_size": str(batch_size),
        "versions": json.dumps(versions()),
    }


def _key(parts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _watch(tolerance: float) -> Callable[[Step | Duelling], None]:
    """Make what looks at every step, and tests each stage once, as soon as there is enough to test it with."""
    tested: set[str] = set()

    def watch(step: Step | Duelling) -> None:
        name = step.stage.name
        if name in tested:
            return
        if isinstance(step, Duelling):
            enough = check_comparison(step, tolerance)
        else:
            enough = len(step.ranked) > 0 and check_company(step, tolerance)
        if enough:
            tested.add(name)

    return watch


def _check_resumed(
    plan: Plan, chunks: Sequence[pd.DataFrame], sheets: Mapping[int, Sheet], partial: Partial, tolerance: float
) -> list[Path]:
    """Score a few pairs of finished chunks again: a fingerprint does not see weights that changed under their old name.

    Each path is looked at in the first chunk that tells something of it; returned are those of which none does.
    """
    unseen = []
    for path in _parts_of(plan):
        spots = ((number, pick_spot(path, sheet)) for number, sheet in sheets.items())
        number, spot = next(((number, spot) for number, spot in spots if len(spot)), (-1, None))
        if spot is None:
            unseen.append(path)
        elif moved := retrace(plan, path, chunks[number], sheets[number], spot, tolerance):
            what = f"stage {moved.stage!r} is not what it was when the finished chunks in {partial.folder} were scored"
            raise TableError(what, [str(moved)], fix=f"{rm_command(partial.folder)}, and score again")
    return unseen


def _parts_of(plan: Plan) -> list[Path]:
    """Give the paths, and without their last stage those where it is pairwise: it may have nothing to compare."""
    before = [replace(path, stages=path.stages[:-1]) for path in plan.paths if path.stages[-1] in plan.duelling]
    return [*plan.paths, *before]


def _check_shared(plan: Plan, paths: Sequence[Path], topics: pd.DataFrame, sheet: Sheet, tolerance: float) -> list[Path]:
    """Refuse to share the scores of a stage that scores by what the stages before it said; return the paths not seen yet."""
    unseen = []
    for path in paths:
        spot = pick_spot(path, sheet)
        if not len(spot):
            unseen.append(path)
        elif moved := retrace(plan, path, topics, sheet, spot, tolerance):
            what = f"stage {moved.stage!r} scores the same pair differently after other stages"
            fix = "one table each: [score(cascade, topics) for cascade in cascades]"
            raise PipelineError(what, [f"on the path {' → '.join(path.stages)}: {moved}"], fix=fix)
    return unseen


def _combine(sheets: Iterable[Sheet]) -> dict[str, TieRules]:
    """Keep the tie rules that agree with the answers in all finished chunks."""
    rules: dict[str, TieRules] = {}
    for sheet in sheets:
        for name, possible in sheet.rules.items():
            rules[name] = rules.get(name, EVERY_RULE) & possible
    return rules


def _table(
    plan: Plan, asked: pd.DataFrame, sheets: Sequence[Sheet], rules: Mapping[str, TieRules], about: Mapping[str, str] | None
) -> ScoreTable:
    columns = []
    for stage in plan.stages:
        rule = choose_rule(rules[stage.name]) if stage.name in rules else PLAIN
        columns.append(Column(stage.name, rule, fingerprint(stage), describe(stage)))
    unused = [] if any("docid" in column.rule for column in columns) else ["docid"]
    frames = [sheet.frame.drop(columns=unused) for sheet in sheets if len(sheet.frame)] or [sheets[0].frame.drop(columns=unused)]
    above = np.r_[0, np.cumsum([len(sheet.frame) for sheet in sheets])]
    return ScoreTable(
        frame=pd.concat(frames, ignore_index=True),
        topics=asked,
        columns=tuple(columns),
        paths=plan.paths,
        depth=plan.depth if any(sheet.cut for sheet in sheets) else None,
        about={**versions(loaded=True), **(about or {})},
        duels={
            name: join_duels([(sheet.duels[name], int(rows)) for sheet, rows in zip(sheets, above, strict=False)], how)
            for name, how in plan.duelling.items()
        },
    )
