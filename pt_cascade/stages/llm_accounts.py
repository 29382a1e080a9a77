"""What judging a query took, and what had to be repaired, counted query by query."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import CascadeWarning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints
    from pt_cascade.stages.llm_failures import CallError
    from pt_cascade.stages.llm_messages import Answer

_COUNTED = ("calls", "retries")
_TOKENS = ("tokens_in", "tokens_out")
REPAIRS = ("malformed", "unread", "partial", "repeated", "refused", "overlong")
ACCOUNTS = tuple(f"llm_{name}" for name in (*_COUNTED, *_TOKENS, "usd", "repaired", *REPAIRS, "bare", "failed"))
"""The columns, in order."""
_MILLION = 1e6
UNSURE = frozenset({"unread", "refused", "overlong"})
"""Repairs that leave a score without ground: nobody keeps it."""
_SHOWN = 3


class Accounts:
    """The account of each query of a frame.

    Args:
        queries: How many there are.
        prices: US dollars a million tokens, of prompts and of answers; None: nobody said.
    """

    def __init__(self, queries: int, prices: tuple[float, float] | None) -> None:
        """Begin at 0."""
        self.prices = prices
        self.counts = {name: np.zeros(queries, np.int64) for name in (*_COUNTED, "repaired", *REPAIRS, "bare")}
        self.tokens = {name: np.zeros(queries) for name in _TOKENS}
        self.failures: dict[int, str] = {}

    def add_call(self, query: int, call: Answer | CallError) -> None:
        """Count a call that was made for a query, whether it was answered or not.

        Args:
            query: Its number.
            call: What became of it.
        """
        self.counts["calls"][query] += 1
        self.counts["retries"][query] += call.retries
        for name, spent in zip(_TOKENS, (call.tokens_in, call.tokens_out), strict=True):
            self.tokens[name][query] += np.nan if spent is None else spent

    def add_faults(self, query: int, faults: Iterable[str]) -> None:
        """Count an answer, and what it lacked.

        Args:
            query: The query's number.
            faults: Names among ``REPAIRS``, or ``bare``; none for an answer that was as asked for.
        """
        names = set(faults)
        self.counts["repaired"][query] += not names.isdisjoint(REPAIRS)
        for name in names:
            self.counts[name][query] += 1

    def fail(self, query: int, words: str) -> None:
        """Mark a query that could not be judged.

        Args:
            query: Its number.
            words: Why; the first reason is kept.
        """
        self.failures.setdefault(query, words)

    def columns(self, query: Ints) -> dict[str, NDArray[np.generic]]:
        """Give each row its query's account.

        Args:
            query: Shape (n,). The number of each row's query.

        Returns:
            The columns named in ``ACCOUNTS``, each of shape (n,). ``llm_usd`` is NaN without prices, tokens where a server did not
            count them, or did not answer in time.
        """
        if self.prices is None:
            usd = np.full(len(self.tokens["tokens_in"]), np.nan)
        else:
            usd = (self.tokens["tokens_in"] * self.prices[0] + self.tokens["tokens_out"] * self.prices[1]) / _MILLION
        failed = np.isin(np.arange(len(usd)), list(self.failures))
        every = {**self.counts, **self.tokens, "usd": usd, "failed": failed}
        return {name: every[name.removeprefix("llm_")][query] for name in ACCOUNTS}

    def warn(self, stage: str, qids: Sequence[str], models: Collection[str]) -> None:
        """Say in one warning what was repaired and what failed, and whether it was one model; nothing where nothing was.

        Args:
            stage: Who judged.
            qids: The qid of each query.
            models: What the server called the models that have answered until now.
        """
        said = []
        if repaired := int(self.counts["repaired"].sum()):
            kinds = ", ".join(f"{self.counts[name].sum()} {name}" for name in REPAIRS if self.counts[name].any())
            said.append(f"{repaired} answer(s) were repaired ({kinds})")
        if bare := int(self.counts["bare"].sum()):
            said.append(f"{bare} answer(s) came without log-probabilities, so that yes and no are all they tell")
        if self.failures:
            first = "; ".join(f"qid {qids[query]}: {self.failures[query]}" for query in sorted(self.failures)[:_SHOWN])
            said.append(f"{len(self.failures)} of {len(qids)} query(ies) failed and keep their old order ({first})")
        if len(models) > 1:
            said.append(f"{len(models)} models answered under one name ({', '.join(sorted(models)[:_SHOWN])})")
        if said:
            warnings.warn(f"{stage}: {'; '.join(said)}; see the columns llm_...", CascadeWarning, stacklevel=2)
