"""What one stage costs for one query, in milliseconds and money."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pt_cascade.errors import SweepError
from pt_cascade.numbers import is_amount

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats

Number = TypeVar("Number", float, "Floats")
UNIT = 100  # documents of a search unit
_MS_PER_HOUR = 3_600_000


@dataclass(frozen=True)
class StageCost:
    """What one stage costs for one query: a fixed part, and a part for each pair that it scores.

    A pair is a query and a document, or a passage of one, or, for a pairwise stage, an ordered pair of documents: n documents are
    n(n - 1) pairs.

    Attributes:
        stage: The stage's name; empty: the stage is known by its position.
        fixed_ms: Milliseconds whatever the number of documents, e.g. to encode the query; for a retriever all of its time.
        per_pair_ms: Milliseconds a pair.
        per_token_ms: Milliseconds a token that the model reads.
        tokens_per_pair: Tokens that the model reads for a pair.
        usd_per_pair: US dollars a pair; ``Timings.cost`` takes it from what the stage counted, e.g. ``llm_judge(prices=...)``.
        usd_per_token: US dollars a token.
        usd_per_search: US dollars a search unit, each 100 documents, or passages, or part of them.
        usd_per_hour: US dollars an hour of the machine, while the stage runs.
        pairs_per_document: Mean pairs that the stage scores for a document: its passages, where it reads passages.
        compares: Whether the stage is pairwise; it does not run on a single document.

    Raises:
        SweepError: A number is negative or not finite, or a cost is per token and tokens_per_pair is 0.

    Example:
        >>> StageCost("mono_t5", fixed_ms=5, per_pair_ms=2).ms(100), StageCost("duo_t5", per_pair_ms=2, compares=True).ms(20)
        (205.0, 760.0)
    """

    stage: str = ""
    fixed_ms: float = 0.0
    per_pair_ms: float = 0.0
    per_token_ms: float = 0.0
    tokens_per_pair: float = 0.0
    usd_per_pair: float = 0.0
    usd_per_token: float = 0.0
    usd_per_search: float = 0.0
    usd_per_hour: float = 0.0
    pairs_per_document: float = 1.0
    compares: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range, all at once."""
        problems = [] if isinstance(self.stage, str) else [f"stage is {self.stage!r}, expected its name"]
        for name in (one.name for one in fields(self) if one.name not in ("stage", "compares")):
            value: object = getattr(self, name)
            if is_amount(value):
                object.__setattr__(self, name, float(value))
            else:
                problems.append(f"{name} is {value!r}, expected a finite number, 0 or more")
        if not problems and (self.per_token_ms or self.usd_per_token) and not self.tokens_per_pair:
            problems.append("tokens_per_pair is 0, expected how many tokens the model reads for a pair")
        if problems:
            raise SweepError(f"the cost of stage {self.stage!r} is out of range", problems)

    @property
    def priced(self) -> bool:
        """Whether the stage costs money."""
        return bool(self.usd_per_pair or self.usd_per_token or self.usd_per_search or self.usd_per_hour)

    @property
    def least(self) -> int:
        """The least number of documents that the stage runs on."""
        return 2 if self.compares else 1

    @property
    def price(self) -> StageCost:
        """The dollars a pair as if they were milliseconds, which fit as times do."""
        return StageCost(per_pair_ms=self.usd_per_pair, pairs_per_document=self.pairs_per_document, compares=self.compares)

    def pairs(self, documents: Number) -> Number:
        """Count the pairs that the stage scores for a query with so many documents."""
        return documents * documents - documents if self.compares else documents * self.pairs_per_document

    def ms(self, documents: Number) -> Number:
        """Give the milliseconds for a query with so many documents."""
        return self.fixed_ms + (self.per_pair_ms + self.per_token_ms * self.tokens_per_pair) * self.pairs(documents)

    def usd(self, documents: Floats, ms: Floats) -> Floats:
        """Give the US dollars for so many documents and milliseconds, of the same shape."""
        pairs = (self.usd_per_pair + self.usd_per_token * self.tokens_per_pair) * self.pairs(documents)
        return (
            pairs
            + self.usd_per_search * np.ceil(documents * self.pairs_per_document / UNIT)
            + self.usd_per_hour / _MS_PER_HOUR * ms
        )
