"""Scores the pairs, or comparisons of two documents, that a cache lacks; each batch is written before the next one is scored."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.cascade.calls import call
from pt_cascade.errors import ScoreCacheError, StageError
from pt_cascade.numbers import count_of
from pt_cascade.ranking import is_alike, locate, score_below
from pt_cascade.stages.base.identity import can_identify, check_files, hash_identity, identify_any
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.scorecache.keys import comparison_keys
from pt_cascade.stages.scorecache.output_order import ADD_RANKS, OutputOrder, read_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyterrier as pt
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.base.pairwise import PairReranker
    from pt_cascade.stages.scorecache.keys import Keys
    from pt_cascade.stages.scorecache.score_cache import ScoreCache

_ORDER = "output_order"
_SYNC_SECONDS = 1.0  # a batch that is faster to score is not worth the wait for the disk; the last one is always waited for


@dataclass(eq=False)
class CacheFill:
    """One call of a cached stage.

    Attributes:
        stage: The stage.
        name: What a cascade calls it.
        cache: Its cached scores.
        given: Frame[qid, query, docno, ...], n rows, at least one.
        keys: The m keys of the rows.
        whole: Whether the scores of a list are cached together or not at all.
        batch_size: Rows that are asked for, and written, together.
    """

    stage: pt.Transformer
    name: str
    cache: ScoreCache
    given: pd.DataFrame
    keys: Keys
    whole: bool
    batch_size: int
    order: OutputOrder = field(init=False)
    usage: Usage = field(init=False)

    def __post_init__(self) -> None:
        """Read what is known of the stage's order; our stages rank as ``rescore`` does."""
        self.usage = Usage(self.stage, self.given)
        words = "" if self._is_known else self.cache.notes().get(_ORDER)
        self.order = ADD_RANKS if self._is_known else OutputOrder.read(words) if words else OutputOrder()

    def answer(self) -> pd.DataFrame:
        """Give every row its score and rank, as the stage would.

        Raises:
            StageError: The stage failed, lost or added a document, gave a score that is not finite, or changed meanwhile.
            ScoreCacheError: The scores cannot be read or written.
        """
        scores = self.cache.get(self.keys.groups, self.keys.group, self.keys.item)
        failed = np.zeros(len(scores), bool)
        if np.isnan(scores).any():
            self.cache.check_writable()
        batches, synced = [*self._batches(scores)], time.monotonic()
        for number, batch in enumerate(batches, 1):
            rows = np.sort(self.keys.row[batch])
            some = self.keys.key[rows]  # the same keys, in row order
            scores[some], failed[some] = self._ask(self.given.iloc[rows])
            durable = number == len(batches) or time.monotonic() - synced > _SYNC_SECONDS
            self._write(some[~self._is_lost(some, failed)], scores, durable=durable)
            synced = time.monotonic() if durable else synced
        score, lost = scores[self.keys.key], failed[self.keys.key]
        if lost.any() and not self.whole:
            place = self.given["rank"].to_numpy() if "rank" in self.given else np.arange(len(self.given))
            query = pd.factorize(self.given["qid"])[0].astype(np.int64)
            score = score_below(query, np.where(lost, -np.inf, score), place)
        self._settle(score)
        failures = {self._failed_column: lost} if self._failed_column else {}
        return self.order.put(self.given.assign(**self.usage.columns(self.given), **failures), score)

    def _batches(self, scores: Floats) -> Iterator[Ints]:
        """Split the keys without a score into batches; where lists are cached whole, no list is split."""
        unit = self.keys.group if self.whole else np.arange(len(scores))
        missing = np.flatnonzero(np.isin(unit, unit[np.isnan(scores)]))
        missing = missing[np.argsort(unit[missing], kind="stable")]
        starts = np.flatnonzero(np.diff(unit[missing], prepend=-1))
        offset = np.repeat(starts, np.diff(np.append(starts, len(missing))))
        return (batch for batch in np.split(missing, np.flatnonzero(np.diff(offset // self.batch_size)) + 1) if len(batch))

    def _ask(self, given: pd.DataFrame) -> tuple[Floats, NDArray[np.bool_]]:
        """Ask the stage for some rows: the score of each, and whether it failed."""
        answer = call(self.stage, given, self.name)
        order = np.argsort(place := _locate_answer(self.name, given, answer))
        self.order = self.order.observe(given, answer, place, self.name)
        self.usage.add(answer)
        failed = answer[self._failed_column].to_numpy(bool) if self._failed_column else np.zeros(len(answer), bool)
        return read_scores(answer, self.name)[order], failed[order]

    @property
    def _is_known(self) -> bool:
        return type(self.stage).transform is Reranker.transform

    @property
    def _failed_column(self) -> str:
        return str(getattr(self.stage, "failed_column", ""))

    def _settle(self, score: Floats) -> None:
        """Where the order of the answer depends on which rule the stage follows, ask it for two rows that tell."""
        before = self.order
        while (rows := self.order.find_question(self.given, score)) is not None:
            known = self.order
            self._ask(self.given.iloc[rows])
            if self.order == known:
                break
        if self.order != before:
            with suppress(ScoreCacheError):  # it only saves a question next time
                nothing = np.zeros(0, np.int64)
                self.cache.put([], nothing, nothing, np.zeros(0), {_ORDER: self.order.write()})

    def _is_lost(self, some: Ints, failed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark what is not cached: what failed, with its list where lists are cached whole."""
        return np.isin(self.keys.group[some], self.keys.group[some[failed[some]]]) if self.whole else failed[some]

    def _write(self, some: Ints, scores: Floats, *, durable: bool) -> None:
        if len(some):
            _check_identity(self.stage, self.name, self.cache)
            notes = {} if self._is_known else {_ORDER: self.order.write()}
            self.cache.put(self.keys.groups, self.keys.group[some], self.keys.item[some], scores[some], notes, durable=durable)


def compare_cached(
    stage: PairReranker, cache: ScoreCache, reads: Sequence[str], batch_size: int, results: pd.DataFrame, first: Ints, second: Ints
) -> Floats:
    """Return what ``stage.compare`` returns, each (query, document, document) from the cache where it has it."""
    keys = comparison_keys(results, reads, hash_identity(cache.identity), first, second)
    wins = cache.get(keys.groups, keys.group, keys.item)
    missing = np.flatnonzero(np.isnan(wins))
    if len(missing):
        check_files(stage)
        cache.check_writable()
    for start in range(0, len(missing), batch_size):
        some = missing[start : start + batch_size]
        wins[some] = stage.compare(results, first[keys.row[some]], second[keys.row[some]])
        if not ((wins[some] >= 0) & (wins[some] <= 1)).all():
            problem = "a comparison is not a probability, expected 0 to 1"
            raise StageError(f"stage {stage.stage_name!r} cannot be cached", [problem])
        check_files(stage)
        _check_identity(stage, stage.stage_name, cache)
        cache.put(keys.groups, keys.group[some], keys.item[some], wins[some])
    return wins[keys.key]


def _check_identity(stage: pt.Transformer, name: str, cache: ScoreCache) -> None:
    """Refuse to cache the scores of a stage that is not what it was when the call began."""
    if can_identify(stage) and identify_any(stage, cache.identity.get("identity")) != cache.identity:
        problem = "its model changed during this call, so the model of the scores is unknown"
        raise StageError(f"the scores of stage {name!r} cannot be cached", [problem], fix="build the stage again")


def _locate_answer(name: str, given: pd.DataFrame, answer: pd.DataFrame) -> Ints:
    """Find the row that each row of an answer is of; refuse an answer that lost or added documents, or has no finite score."""
    what = f"the scores of stage {name!r} cannot be cached"
    if missing := [column for column in ("qid", "docno", "score", "rank") if column not in answer]:
        raise StageError(what, [f"it returned no {', '.join(missing)}"], fix=f"{name} >> pt.apply.generic(pt.model.add_ranks)")
    if not is_alike(answer, given) and given.duplicated(["qid", "docno"]).any():
        raise StageError(what, ["it was given a (qid, docno) twice"], fix='results.drop_duplicates(["qid", "docno"])')
    place, finite = locate(answer, given), np.isfinite(read_scores(answer, name))
    if finite.all() and len(place) == len(given) and (np.sort(place) == np.arange(len(given))).all():
        return place
    again = answer.duplicated(["qid", "docno"]).to_numpy()
    problems = [
        f"{len(rows)} of {count_of(len(given), 'document')} {words}, first qid {rows['qid'].iloc[0]}, docno {rows['docno'].iloc[0]}"
        for rows, words in (
            (given[locate(given, answer[~again]) < 0], "lost"),
            (answer[(place < 0) | again], "added"),
            (answer[~finite], "scored NaN or infinite"),
        )
        if len(rows)
    ]
    raise StageError(what, problems)


class Usage:
    """Sums of the columns in ``stage.accounts``, which repeat on each row what its query used; 0 for what was read."""

    def __init__(self, stage: pt.Transformer, given: pd.DataFrame) -> None:
        """Start at 0, with the types that the stage gives for no rows."""
        names = getattr(stage, "accounts", ())
        self.qids = pd.Index(given["qid"].unique())
        nothing = stage.transform(given.iloc[:0]) if names else given.iloc[:0]
        self.sums = {name: np.zeros(len(self.qids), nothing[name].to_numpy().dtype) for name in names if name in nothing}

    def add(self, answer: pd.DataFrame) -> None:
        """Add what an answer used."""
        once = answer.drop_duplicates("qid") if self.sums else answer.iloc[:0]
        query = self.qids.get_indexer(pd.Index(once["qid"]))
        for name, total in self.sums.items():
            total[query] += once[name].to_numpy(total.dtype)

    def columns(self, given: pd.DataFrame) -> dict[str, NDArray[np.generic]]:
        """Give each row its query's sums; truth values say whether any was true.

        Example:
            >>> import pyterrier as pt
            >>> frame = pd.DataFrame({"qid": ["1", "1", "2"], "docno": ["a", "b", "a"]})
            >>> stage = pt.apply.generic(lambda df: df.assign(calls=1))
            >>> stage.accounts = ("calls",)
            >>> usage = Usage(stage, frame)
            >>> usage.add(frame.head(1).assign(calls=3)), usage.columns(frame)["calls"].tolist()
            (None, [3, 3, 0])
        """
        query = self.qids.get_indexer(pd.Index(given["qid"]))
        return {name: total[query] for name, total in self.sums.items()}
