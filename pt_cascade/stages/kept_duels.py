"""What a pairwise stage says of two documents, kept on the disk: none is asked for twice, not by another run, not after a crash."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import StageError
from pt_cascade.stages.cells import number_cells
from pt_cascade.stages.identity import check_files, hash_identity
from pt_cascade.stages.keys import Keys, hash_group, hash_rows, number_rows, to_items
from pt_cascade.stages.pairwise import PairReranker, check_wins
from pt_cascade.stages.store import ScoreStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pt_cascade.analysis.preferences import Aggregation
    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.identity import Identity

BATCH_SIZE = 512
_BATCHES_TO_HOLD = 2  # the first may make the file


@dataclass(frozen=True)
class KeptDuels(PairReranker):
    """A pairwise stage whose ``compare`` reads what is kept, and asks the stage itself for the rest, each micro-batch kept at once.

    How the answers add up does not count: stages that differ in their aggregation alone share a file. To rank a frame it lets the
    stage itself do so; ``cached`` keeps whole rankings.

    Attributes:
        inner: Whose answers are kept.
        path: The file.
        batch_size: Comparisons that are asked for and kept together; a killed process loses at most these.

    Example:
        >>> from pt_cascade.stages import duo_t5
        >>> kept = KeptDuels(duo_t5("castorini/duot5-base-msmarco", aggregation="sum"), "duels.sqlite")
        >>> kept.stage_name, kept.aggregation
        ('duo_t5', 'sum')
    """

    inner: PairReranker
    path: str
    batch_size: int = BATCH_SIZE

    @property
    def stands_for(self) -> PairReranker:
        """Whose answers these are, for those who want to see or time the stage itself."""
        return self.inner

    @property
    def stage_name(self) -> str:  # type: ignore[override] # of a class elsewhere
        """What a cascade calls it."""
        return self.inner.stage_name

    @property
    def aggregation(self) -> Aggregation:  # type: ignore[override] # a field elsewhere
        """How the answers add up."""
        return self.inner.aggregation

    def needs(self) -> list[str]:
        """Name the columns that must be there beside qid and docno."""
        return self.inner.needs()

    def reads(self) -> list[str]:
        """Name the columns that, with the query, tell a document."""
        return self.inner.reads()

    def identify(self) -> Identity:
        """Tell all that an answer depends on beside the query and the documents, see ``Reranker.identify``."""
        return identify_duels(self.inner)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Let the stage itself rank.

        Args:
            inp: Frame[qid, docno, ...].
        """
        return self.inner.transform(inp)

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Tell how sure the stage is that one document beats another, from what is kept as far as it goes.

        Args:
            results: Frame[qid, query, docno, ...] with the columns of ``needs``.
            first: Shape (m,). Numbers of rows of ``results``, from 0.
            second: Shape (m,). Another row of the same query for each.

        Returns:
            Shape (m,). Probabilities; those that were kept, bit for bit.

        Raises:
            StageError: The stage gave no probability, or is not what it was before this call.
            StoreError: What is kept cannot be read, or nothing can be kept.
        """
        store = ScoreStore(self.path, self.identify())
        keys = duel_keys(results, self.reads(), first, second, hash_identity(store.identity))
        p = store.get(keys.groups, keys.group, keys.item)
        missing = np.flatnonzero(np.isnan(p))
        with ExitStack() as held:
            for number, start in enumerate(range(0, len(missing), self.batch_size)):
                if number < _BATCHES_TO_HOLD:
                    held.enter_context(store.hold())
                some = missing[start : start + self.batch_size]
                one, other = first[keys.row[some]], second[keys.row[some]]
                check_files(self.inner)
                p[some] = check_wins(self.inner.compare(results, one, other), results, one, other, self.stage_name)
                if self.identify() != store.identity:
                    problem = "it is another model than before this call, so nobody knows which of them compared"
                    raise StageError(f"what stage {self.stage_name!r} says cannot be kept", [problem], fix="make the stage anew")
                store.put(*keys.take(some), p[some])
        return p[keys.key]


def identify_duels(stage: PairReranker) -> Identity:
    """Tell what a pairwise stage's answers depend on: all that its scores do, but how they add up.

    Args:
        stage: A pairwise stage.

    Returns:
        Words by name.
    """
    return {name: word for name, word in stage.identify().items() if name != "aggregation"} | {"kept": "comparisons"}


def duel_keys(results: pd.DataFrame, reads: Iterable[str], first: Ints, second: Ints, salt: str) -> Keys:
    """Make the keys of comparisons.

    Args:
        results: Frame[qid, query, docno, ...].
        reads: The columns that, with the query, tell a document.
        first: Shape (n,). Rows of ``results``.
        second: Shape (n,). Others.
        salt: What else the answers depend on: the hash of the stage's identity.

    Returns:
        One key for each different query text and two documents in this order; a row of the keys is a comparison.

    Example:
        >>> one = pd.DataFrame({"qid": ["1"] * 3, "query": "q", "docno": ["a", "b", "c"], "text": ["lion", "tiger", "lion"]})
        >>> duel_keys(one, ["text"], np.array([0, 1, 2]), np.array([1, 0, 1]), "").key.tolist()
        [0, 1, 0]
    """
    names = sorted({"query", *reads})
    query, queries = number_cells(results["query"])
    document, hashes = number_rows(results, names)
    key, pairs = pd.factorize(document[first] * np.int64(len(hashes)) + document[second])
    row = np.flatnonzero(~pd.Series(key).duplicated().to_numpy())
    both = np.hstack([hashes[pairs // len(hashes)], hashes[pairs % len(hashes)]])
    items = to_items(hash_rows(both))
    groups = tuple(hash_group(salt, "duel", names, one) for one in queries)
    return Keys(groups, query[first[row]], items, row, key)
