"""What the three ways of judging share: cases in, calls at once, scores, marks and accounts out."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.errors import PipelineError, require
from pt_cascade.frames import check_text
from pt_cascade.ranking import ranks, score_below
from pt_cascade.stages.base.identity import SPEED_FIELDS
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.llm.client import Client, Clock, Memory
from pt_cascade.stages.llm.concurrency import Once, drive, run_all
from pt_cascade.stages.llm.connection import OPENAI_KEY, Server, connect, read_key
from pt_cascade.stages.llm.desk import Desk
from pt_cascade.stages.llm.prompts import Prompt, find_faults
from pt_cascade.stages.llm.queries import INSTRUCTION, check_frame, read_cases
from pt_cascade.stages.llm.usage import ACCOUNTS, Accounts
from pt_cascade.stages.llm.validation import find_option_faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.llm.prompts import How
    from pt_cascade.stages.llm.queries import Case

T = TypeVar("T")


@dataclass(frozen=True)
class LlmJudge(Reranker, Generic[T]):
    """A stage that ``llm_judge`` makes; its fields are the arguments of that function, ready to use."""

    model: str
    prompt: Prompt
    base_url: str
    api_key_env: str = field(default=OPENAI_KEY, repr=False)
    instruction: str = ""
    text_field: str = "text"
    max_words: int = 300
    max_tokens: int = 16
    seed: int | None = 0
    request: str = "{}"
    concurrency: int = 8
    retries: int = 5
    timeout: float = 60.0
    prices: tuple[float, float] | None = None
    on_error: str = "raise"
    verbose: bool = False

    stage_name: ClassVar[str] = "llm_judge"
    weight_fields: ClassVar[frozenset[str]] = frozenset()  # the model is the server's
    speed_fields: ClassVar[frozenset[str]] = SPEED_FIELDS | {"on_error"}
    how: ClassVar[How]
    accounts: ClassVar[tuple[str, ...]] = ACCOUNTS
    failed_column: ClassVar[str] = "llm_failed"
    schematic: ClassVar[dict[str, str | None]] = {"label": "LLM judge", "help_url": None}  # without it: a look-up on the network

    def __post_init__(self) -> None:
        """Refuse what no server could be asked with, all reasons at once."""
        problems = [*self._prompt_problems(), *self._problems()]
        if problems:
            raise PipelineError("llm_judge cannot be made", problems)

    @abstractmethod
    def jobs(self, case: Case, desk: Desk[T]) -> Iterator[Callable[[], Awaitable[None]]]:
        """Give what is to be done for a case: jobs that may run at once and fill the case's scores, or mark it failed."""

    def extra_fields(self) -> Mapping[str, object]:
        """Name what is sent with each prompt beside what all ways of judging send."""
        return {}

    def needs(self) -> list[str]:
        """Name the columns that must be there beside qid and docno."""
        return ["query", self.text_field]

    def reads(self) -> list[str]:
        """Name the columns that, with the query, tell one score from another; one that is not there is passed over."""
        return [self.text_field, INSTRUCTION]

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row.

        Args:
            results: Frame[qid, query, docno, text, ...], at least one row.

        Returns:
            Shape (n,), finite, in row order; what has no judgment is below the rest of its query.
        """
        return self._judge(results, read_cases(results, self.text_field, self.instruction)).scores

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Give every row its score, its rank, its mark and its query's account, and keep every other column; no row, no call.

        Args:
            inp: Frame[qid, query, docno, text, ...]; with ``rank``, equal scores stay in that order, else in row order.

        Returns:
            The same rows in the same order, with score, rank, ``llm_failed`` and the columns of ``accounts``.
        """
        pt.validate.result_frame(inp, extra_columns=self.needs(), context=self)
        check_frame(inp, self.needs())
        for column in self.needs():
            check_text(inp, column, self.stage_name)
        if not len(inp):
            nothing = Accounts(0, self.prices).columns(np.empty(0, np.int64))
            return inp.assign(score=np.empty(0), rank=np.empty(0, np.int64), llm_failed=np.empty(0, bool), **nothing)
        cases = read_cases(inp, self.text_field, self.instruction)
        desk = self._judge(inp, cases)
        number = pd.factorize(inp["qid"])[0].astype(np.int64)
        rank = _rank(inp, desk.scores, cases)
        return inp.assign(score=desk.scores, rank=rank, llm_failed=desk.failed, **desk.accounts.columns(number))

    def _judge(self, results: pd.DataFrame, cases: list[Case]) -> Desk[T]:
        """Ask for every case; what has no score then ranks below the rest of its query, in its old order."""
        asked = next((case.instruction for case in cases if case.instruction), "")
        if problems := list(find_faults(self.prompt, self.how, asked)):
            raise PipelineError("llm_judge cannot pass on the column instruction", problems)
        require("openai", why="llm_judge")
        desk = drive(lambda: self._ask(cases, len(results)))
        if np.isnan(desk.scores).any():
            place = np.empty(len(results), np.int64)
            place[np.concatenate([case.rows for case in cases])] = np.arange(len(results))
            desk.scores = score_below(pd.factorize(results["qid"])[0].astype(np.int64), desk.scores, place)
        desk.accounts.warn(self.stage_name, self._memory.models, self._memory.changes)
        return desk

    async def _ask(self, cases: list[Case], n: int) -> Desk[T]:
        """Ask in turns, a document of each query, so that one query that cannot be answered does not come first with all it has."""
        from tqdm import tqdm  # noqa: PLC0415 - it looks for a notebook when imported

        ours = {"temperature": 0, "max_tokens": self.max_tokens, "seed": self.seed, **self.extra_fields()}
        key = read_key(self.api_key_env, self.base_url)
        server = Server(self.model, self.base_url, ours, json.loads(self.request), self.retries, self.timeout, key)
        async with connect(server) as connection:
            client = Client(server, connection, self._memory, self._clock)
            accounts, failed = Accounts(len(cases), self.prices), np.zeros(n, bool)
            desk: Desk[T] = Desk(client, Once(client.ask), accounts, self.on_error == "keep", np.full(n, np.nan), failed)
            turns = zip_longest(*(self.jobs(case, desk) for case in cases))
            jobs = [job for turn in turns for job in turn if job is not None]
            with tqdm(jobs, desc=self.stage_name, disable=not self.verbose) as bar:
                await run_all(bar, self.concurrency)
        return desk

    @cached_property
    def _memory(self) -> Memory:
        return Memory()

    @cached_property
    def _clock(self) -> Clock:
        return Clock()

    def _prompt_problems(self) -> Iterator[str]:
        prompt: object = self.prompt
        if isinstance(prompt, Prompt):
            yield from find_faults(prompt, self.how, str(self.instruction or ""))
        else:
            yield f"prompt is {prompt!r:.60}, expected the path of a text file, or None"

    def _problems(self) -> Iterator[str]:
        """Say what is wrong with the options."""
        yield from find_option_faults({one.name: getattr(self, one.name) for one in fields(self)})


def _rank(results: pd.DataFrame, score: Floats, cases: list[Case]) -> Ints:
    """Rank by score, equal ones in their old order."""
    order = np.concatenate([case.rows for case in cases])
    rank = np.empty(len(results), np.int64)
    rank[order] = ranks(results["qid"].iloc[order], score[order])
    return rank
