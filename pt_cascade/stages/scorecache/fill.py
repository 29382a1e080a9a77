"""What is not kept is asked of the stage, some rows at a time, and each answer is kept before the next is asked for."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.cascade.steps import call
from pt_cascade.errors import StageError, StoreError
from pt_cascade.ranking import is_alike, locate, score_below
from pt_cascade.stages.base.identity import can_identify, identify_any
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.scorecache.output_rule import UNKNOWN, Manner
from pt_cascade.stages.scorecache.row_order import PLAIN, read_scores, settle
from pt_cascade.stages.scorecache.sqlite_file import refuse
from pt_cascade.stages.scorecache.usage import Spending

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyterrier as pt
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.scorecache.keys import Keys
    from pt_cascade.stages.scorecache.row_order import Arrangement
    from pt_cascade.stages.scorecache.store import ScoreStore

_MANNER = "manner"


@dataclass(eq=False)
class Asking:
    """One frame on its way to its scores; it lives as long as one call.

    Attributes:
        stage: Who is asked.
        name: What a cascade calls it.
        store: Where its scores are kept.
        given: Frame[qid, query, docno, ...], n rows, at least one.
        keys: The m keys of the rows.
        whole: Whether a query's scores are kept whole or not at all.
        batch_size: Rows that are asked for, and kept, together.
        manner: What is known of how it answers.
    """

    stage: pt.Transformer
    name: str
    store: ScoreStore
    given: pd.DataFrame
    keys: Keys
    whole: bool
    batch_size: int
    manner: Manner = UNKNOWN
    spent: Spending = field(init=False)

    def __post_init__(self) -> None:
        """Recall how the stage answers; a stage of ours that does not say otherwise ranks as ``rescore`` does."""
        self.spent = Spending(self.stage, self.given)
        if type(self.stage).transform is Reranker.transform:
            self.manner = Manner(frozenset({PLAIN}), "float64")
        elif words := self.store.notes().get(_MANNER):
            try:
                self.manner = Manner.read(words)
            except ValueError as error:
                refuse(self.store.path, error)

    def answer(self) -> pd.DataFrame:
        """Give every row its score and rank, as the stage itself would.

        Raises:
            StageError: The stage failed, lost or invented a document, gave a score that is not finite, or is not what it was; or
                the scores cannot be read or kept.
        """
        scores = self.store.get(self.keys.groups, self.keys.group, self.keys.item)
        failed = np.zeros(len(scores), bool)
        with ExitStack() as held:
            for number, some in enumerate(self._batches(scores)):
                if number < 2:  # noqa: PLR2004 - the first batch may make the file
                    held.enter_context(self.store.hold())
                rows = np.sort(self.keys.row[some])
                some = self.keys.key[rows]  # noqa: PLW2901 - the same keys, in row order
                scores[some], failed[some] = self._ask(self.given.iloc[rows])
                self._keep(some[~self._is_spoilt(some, failed)], scores)
        score, lost = scores[self.keys.key], failed[self.keys.key]
        if lost.any() and not self.whole:
            place = self.given["rank"].to_numpy() if "rank" in self.given else np.arange(len(self.given))
            query = pd.factorize(self.given["qid"])[0].astype(np.int64)
            score = score_below(query, np.where(lost, -np.inf, score), place)
        possible = settle(self.manner.possible, self.given, score, self._try)
        self.manner = self.manner._replace(possible=possible)
        marks = {**self.spent.columns(self.given), **({self._failed_column: lost} if self._failed_column else {})}
        return self.manner.put(self.given.assign(**marks), score)

    def _batches(self, scores: Floats) -> Iterator[Ints]:
        """Go through the keys without a score; where answers are whole, group by group."""
        missing = np.flatnonzero(np.isnan(scores))
        if not self.whole:
            yield from (missing[n : n + self.batch_size] for n in range(0, len(missing), self.batch_size))
            return
        lacking = np.isin(self.keys.group, self.keys.group[missing])
        missing = np.flatnonzero(lacking)[np.argsort(self.keys.group[lacking], kind="stable")]
        sizes = np.bincount(self.keys.group[missing])
        some: list[Ints] = []
        for rows in np.split(missing, np.cumsum(sizes[sizes > 0])[:-1]) if len(missing) else ():
            some.append(rows)
            if sum(map(len, some)) >= self.batch_size:
                yield np.concatenate(some)
                some = []
        if some:
            yield np.concatenate(some)

    def _ask(self, given: pd.DataFrame) -> tuple[Floats, NDArray[np.bool_]]:
        """Ask the stage for some rows, and look at its answer: the score of each row, and whether it failed."""
        answer = call(self.stage, given, self.name)
        place = _locate_answer(self.name, given, answer)
        before, self.manner = self.manner, self.manner.observe(given, answer, place, self.name)
        if self.manner != before:
            with suppress(StoreError):  # it would spare a question another time
                self.store.note(_MANNER, self.manner.write())
        self.spent.add(answer)
        order = np.argsort(place)
        failed = answer[self._failed_column].to_numpy(bool) if self._failed_column else np.zeros(len(answer), bool)
        return read_scores(answer, self.name)[order], failed[order]

    @property
    def _failed_column(self) -> str:
        """Where the stage marks what failed; empty: nowhere."""
        return str(getattr(self.stage, "failed_column", ""))

    def _try(self, _: frozenset[Arrangement], given: pd.DataFrame) -> frozenset[Arrangement]:
        """Ask for a few rows only to see how they are arranged."""
        self._ask(given)
        return self.manner.possible

    def _is_spoilt(self, some: Ints, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark what is not kept: what failed, with its whole list where answers are whole."""
        if not self.whole:
            return bad[some]
        group = self.keys.group[some]
        return np.isin(group, group[bad[some]])

    def _keep(self, some: Ints, scores: Floats) -> None:
        if can_identify(self.stage) and identify_any(self.stage, self.store.identity.get("identity")) != self.store.identity:
            problem = "it is another model than before this call, so nobody knows which of them scored"
            raise StageError(f"the scores of stage {self.name!r} cannot be kept", [problem], fix="make the stage anew")
        if len(some):
            self.store.put(*self.keys.take(some), scores[some])


def _locate_answer(name: str, given: pd.DataFrame, answer: pd.DataFrame) -> Ints:
    """Find the row that each row of an answer is of, and refuse an answer of which not all can be kept."""
    what = f"the scores of stage {name!r} cannot be kept"
    if lacking := [column for column in ("qid", "docno", "score", "rank") if column not in answer]:
        raise StageError(what, [f"it gave no {', '.join(lacking)}"], fix=f"{name} >> pt.apply.generic(pt.model.add_ranks)")
    if not is_alike(answer, given) and given.duplicated(["qid", "docno"]).any():
        raise StageError(what, ["it was given a (qid, docno) twice"], fix='results.drop_duplicates(["qid", "docno"])')
    place, finite = locate(answer, given), np.isfinite(read_scores(answer, name))
    if finite.all() and len(place) == len(given) and (np.sort(place) == np.arange(len(given))).all():
        return place
    raise StageError(what, list(_find_problems(given, answer, finite)))


def _find_problems(given: pd.DataFrame, answer: pd.DataFrame, finite: NDArray[np.bool_]) -> Iterator[str]:
    again = answer.duplicated(["qid", "docno"]).to_numpy()
    yield from (
        f"{len(rows)} of {len(given)} document(s) {words}, first qid {rows['qid'].iloc[0]}, docno {rows['docno'].iloc[0]}"
        for rows, words in (
            (given[locate(given, answer[~again]) < 0], "lost"),
            (answer[(locate(answer, given) < 0) | again], "added"),
            (answer[~finite], "scored NaN or infinite"),
        )
        if len(rows)
    )
