"""What judging a query took, what had to be repaired, and what failed, counted query by query."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import CascadeWarning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints
    from pt_cascade.stages.llm.failures import CallError
    from pt_cascade.stages.llm.messages import Answer

_COUNTED = ("calls", "retries")
_TOKENS = ("tokens_in", "tokens_out")
REPAIRS = ("malformed", "partial", "repeated", "overlong")
_FAILURES = ("unread", "refused")
FAULTS = (*REPAIRS, *_FAILURES, "bare", "failures")
ACCOUNTS = tuple(f"llm_{name}" for name in (*_COUNTED, *_TOKENS, "usd", "repaired", *FAULTS))
"""The columns, in order."""
_MILLION = 1e6
_SHOWN = 3


class Accounts:
    """The account of each query of a frame; prices are US dollars a million tokens, of prompts and of answers."""

    def __init__(self, queries: int, prices: tuple[float, float] | None) -> None:
        """Begin at 0."""
        self.prices = prices
        self.counts = {name: np.zeros(queries, np.int64) for name in (*_COUNTED, "repaired", *FAULTS)}
        self.tokens = {name: np.zeros(queries) for name in _TOKENS}
        self.reasons: list[str] = []

    def add_call(self, query: int, call: Answer | CallError) -> None:
        """Count a call that was made for a query, whether it was answered or not."""
        self.counts["calls"][query] += 1
        self.counts["retries"][query] += call.retries
        for name, spent in zip(_TOKENS, call.tokens, strict=True):
            self.tokens[name][query] += np.nan if spent is None else spent

    def add_faults(self, query: int, faults: Iterable[str]) -> None:
        """Count what an answer lacked: it was repaired, or it is of no use."""
        names = set(faults)
        lost = not names.isdisjoint(_FAILURES)
        self.counts["repaired"][query] += not lost and not names.isdisjoint(REPAIRS)
        for name in names & {*_FAILURES, "overlong"} if lost else names:
            self.counts[name][query] += 1

    def fail(self, query: int, words: str) -> None:
        """Count a document, or a window, without a judgment, and keep the first reasons."""
        self.counts["failures"][query] += 1
        self.reasons += [words][: _SHOWN - len(self.reasons)]

    def columns(self, query: Ints) -> dict[str, NDArray[np.generic]]:
        """Give each row its query's account: the columns named in ``ACCOUNTS``, each of shape (n,).

        ``llm_usd`` is NaN without prices, tokens where a server did not count them, or did not answer in time.
        """
        prices = self.prices or (np.nan, np.nan)
        usd = (self.tokens["tokens_in"] * prices[0] + self.tokens["tokens_out"] * prices[1]) / _MILLION
        every = {**self.counts, **self.tokens, "usd": usd}
        return {name: every[name.removeprefix("llm_")][query] for name in ACCOUNTS}

    def warn(self, stage: str, models: Collection[str], changes: Mapping[str, object]) -> None:
        """Say in one warning what failed, what was repaired, and what the server was or wanted; nothing where nothing was."""
        total = {name: int(counts.sum()) for name, counts in self.counts.items()}
        said = []
        if failures := total["failures"]:
            kinds = "".join(f", {total[name]} {name}" for name in _FAILURES if total[name])
            said.append(f"{failures} document(s) or window(s) have no judgment{kinds} ({'; '.join(self.reasons)})")
        if repaired := total["repaired"]:
            kinds = ", ".join(f"{total[name]} {name}" for name in REPAIRS if total[name])
            said.append(f"{repaired} answer(s) were repaired ({kinds})")
        if bare := total["bare"]:
            said.append(f"{bare} answer(s) came without log-probabilities, so that yes and no are all they tell")
        if changes:
            wants = ", ".join(f"no {name}" if value is None else f"{name}={value}" for name, value in sorted(changes.items()))
            said.append(f"the server refuses what is sent by default and is asked with {wants}")
        if len(models) > 1:
            said.append(f"{len(models)} models answered under one name ({', '.join(sorted(models)[:_SHOWN])})")
        if said:
            warnings.warn(f"{stage}: {'; '.join(said)}; see the columns llm_...", CascadeWarning, stacklevel=2)
