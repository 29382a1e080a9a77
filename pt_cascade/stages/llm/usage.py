"""Counts the calls, tokens, repairs and failures of each query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import warn
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints
    from pt_cascade.stages.llm.responses import Response

_TOKENS = ("tokens_in", "tokens_out")
_REPAIRS = ("malformed", "partial", "repeated", "overlong")
_FAILURES = ("unread", "refused")
_COUNTS = ("calls", "retries", "repaired", *_REPAIRS, *_FAILURES, "no_logprobs", "failures")
ACCOUNTS = tuple(f"llm_{name}" for name in (*_COUNTS[:2], *_TOKENS, "usd", *_COUNTS[2:]))
"""The columns that ``llm_judge`` adds, in order."""
_MILLION = 1e6
_SHOWN = 3


class Usage:
    """The counts of each query of a frame; prices are US dollars a million tokens of prompts and of answers."""

    def __init__(self, queries: int, prices: tuple[float, float] | None) -> None:
        """Start at 0."""
        self.prices = prices or (np.nan, np.nan)
        self.counts = {name: np.zeros(queries, np.int64) for name in _COUNTS}
        self.tokens = np.zeros((queries, 2))
        self.reasons: list[str] = []

    def add_call(self, query: int, response: Response) -> None:
        """Count a call, with an answer or without."""
        self.counts["calls"][query] += 1
        self.counts["retries"][query] += response.retries
        self.tokens[query] += response.tokens

    def add_faults(self, query: int, faults: Iterable[str]) -> None:
        """Count the faults of an answer; it was repaired, unless it has no judgment."""
        names = set(faults)
        lost = not names.isdisjoint(_FAILURES)
        self.counts["repaired"][query] += not lost and not names.isdisjoint(_REPAIRS)
        for name in names & {*_FAILURES, "overlong"} if lost else names:
            self.counts[name][query] += 1

    def fail(self, query: int, reason: str) -> None:
        """Count a document or window without a judgment, and keep the first reasons."""
        self.counts["failures"][query] += 1
        self.reasons += [reason][: _SHOWN - len(self.reasons)]

    def columns(self, query: Ints) -> dict[str, NDArray[np.generic]]:
        """Give the columns of ``ACCOUNTS``: for each row the counts of its query, ``query`` of shape (n,)."""
        every = {**self.counts, **dict(zip(_TOKENS, self.tokens.T, strict=True)), "usd": self.tokens @ self.prices / _MILLION}
        return {name: every[name.removeprefix("llm_")][query] for name in ACCOUNTS}

    def warn(self, stage: str, changes: Mapping[str, object]) -> None:
        """Warn once of failures, repairs and refused fields; not where there are none."""
        total = {name: int(counts.sum()) for name, counts in self.counts.items()}
        found = []
        if failures := total["failures"]:
            kinds = "".join(f", {total[name]} {name}" for name in _FAILURES if total[name])
            found.append(f"{count_of(failures, 'judgment')} missing{kinds} ({'; '.join(self.reasons)})")
        if repaired := total["repaired"]:
            kinds = ", ".join(f"{total[name]} {name}" for name in _REPAIRS if total[name])
            found.append(f"repaired: {count_of(repaired, 'answer')} ({kinds})")
        if missing := total["no_logprobs"]:
            found.append(f"{count_of(missing, 'answer')} had no log-probabilities, so their score is 100 or -100")
        if changes:
            fields = ", ".join(f"no {name}" if value is None else f"{name}={value}" for name, value in sorted(changes.items()))
            found.append(f"the server refuses default fields; requests now have {fields}")
        if found:
            warn(f"{stage}: {'; '.join(found)}; see the columns llm_...")
