"""What one stage costs for one query, in milliseconds and money."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    import os

    from pt_cascade.ranking import Floats

Number = TypeVar("Number", float, "Floats")
UNIT = 100  # documents of a search unit
_MS_PER_HOUR = 3_600_000


@dataclass(frozen=True)
class StageCost:
    """What one stage costs for one query: a fixed part, and a part for each document it is given, or each duel between two of them.

    A pairwise stage that is given n documents holds n(n - 1) duels: it compares each with each other, in both orders.

    Attributes:
        stage: The stage's name; empty: known by its position.
        fixed_ms: Milliseconds however many documents, e.g. to encode the query; for a retriever all of its time.
        per_doc_ms: Milliseconds a document; 0 documents enter a retriever.
        per_duel_ms: Milliseconds a duel, for a pairwise stage.
        per_token_ms: Milliseconds a token that the model reads.
        tokens_per_doc: Tokens that the model reads for a (query, document) pair.
        tokens_per_duel: Tokens that it reads for a duel.
        compares: Whether it is a pairwise stage, which holds duels and does not run on a single document; so is any that is told
            something of its duels.
        usd_per_token: US dollars a token.
        usd_per_search: US dollars a search unit, each started 100 documents.
        usd_per_hour: US dollars an hour of the machine, for as long as the stage runs.

    Raises:
        SweepError: A number is negative or not finite, or something is per token and no tokens are told.

    Example:
        >>> StageCost("mono_t5", fixed_ms=5, per_doc_ms=2).ms(100), StageCost("duo_t5", per_duel_ms=2).ms(20)
        (205.0, 760.0)
    """

    stage: str = ""
    fixed_ms: float = 0.0
    per_doc_ms: float = 0.0
    per_token_ms: float = 0.0
    tokens_per_doc: float = 0.0
    usd_per_token: float = 0.0
    usd_per_search: float = 0.0
    usd_per_hour: float = 0.0
    per_duel_ms: float = 0.0
    tokens_per_duel: float = 0.0
    compares: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no cost, all reasons at once."""
        values: dict[str, object] = {
            one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("stage", "compares")
        }
        problems = [] if isinstance(self.stage, str) else [f"stage is {self.stage!r}, expected its name"]
        for name, value in values.items():
            if not _is_amount(value):
                problems.append(f"{name} is {value!r}, expected a number from 0")
            else:
                object.__setattr__(self, name, float(value))  # type: ignore[arg-type] # it is a number
        if not problems and (self.per_token_ms or self.usd_per_token) and not (self.tokens_per_doc or self.tokens_per_duel):
            problems.append("tokens_per_doc is 0, expected how many tokens the model reads for a document")
        if problems:
            raise SweepError(f"stage {self.stage!r} has no such cost", problems)
        object.__setattr__(self, "compares", bool(self.compares or self.per_duel_ms or self.tokens_per_duel))

    @property
    def least(self) -> int:
        """How many documents it must be given to run at all."""
        return 2 if self.compares else 1

    def ms(self, documents: Number) -> Number:
        """Give the milliseconds for a query of which the stage is given so many documents."""
        for_all = (self.per_doc_ms + self.per_token_ms * self.tokens_per_doc) * documents
        return self.fixed_ms + for_all + (self.per_duel_ms + self.per_token_ms * self.tokens_per_duel) * count_duels(documents)

    def usd(self, documents: Floats, ms: Floats) -> Floats:
        """Give the US dollars for so many documents and so much time; shapes are those of the arguments."""
        units = np.ceil(documents / UNIT)
        tokens = self.usd_per_token * (self.tokens_per_doc * documents + self.tokens_per_duel * count_duels(documents))
        return tokens + self.usd_per_search * units + self.usd_per_hour / _MS_PER_HOUR * ms

    def priced(self, name: str, path: str | os.PathLike[str] | None = None) -> StageCost:
        """Return the cost with a price of the price file.

        Args:
            name: A name there, e.g. ``voyage-rerank-2.5``; see ``read_prices``.
            path: Your own price file; None: the built-in one.

        Raises:
            SweepError: There is no such price, or it is per token and ``tokens_per_doc`` is 0.

        Example:
            >>> StageCost("rerank", tokens_per_doc=200).priced("voyage-rerank-2.5").usd_per_token
            5e-08
        """
        from pt_cascade.analysis.prices import price_of  # noqa: PLC0415 - a file, read when asked for

        return price_of(name, path).put(self)


def count_duels(documents: Number) -> Number:
    """Count the comparisons of each of so many documents with each other, in both orders.

    Args:
        documents: Of a query, 0 or more.

    Example:
        >>> count_duels(20), count_duels(np.array([0.0, 1.0, 2.0])).tolist()
        (380, [0.0, 0.0, 2.0])
    """
    return documents * documents - documents


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and bool(0 <= value < math.inf)
