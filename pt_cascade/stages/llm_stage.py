"""What the three ways of judging share: cases in, calls at once, scores and accounts out, failed queries in their old order."""

from __future__ import annotations

import json
import math
import re
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pyterrier as pt

from pt_cascade.errors import PipelineError
from pt_cascade.frames import check_text
from pt_cascade.ranking import ranks
from pt_cascade.stages.llm_accounts import ACCOUNTS, Accounts
from pt_cascade.stages.llm_calls import Once, drive, work_off
from pt_cascade.stages.llm_cases import INSTRUCTION, read_cases
from pt_cascade.stages.llm_client import CallError, Line, Memory, Patience, Server
from pt_cascade.stages.llm_prompts import find_faults
from pt_cascade.stages.reranker import Reranker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    import pandas as pd

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.llm_answers import Reading
    from pt_cascade.stages.llm_cases import Case
    from pt_cascade.stages.llm_messages import Answer
    from pt_cascade.stages.llm_prompts import How, Prompt

T = TypeVar("T")

_OURS = frozenset({"messages", "model", "n", "stream"})


@dataclass
class Desk(Generic[T]):
    """Where the cases of one frame are judged.

    Attributes:
        once: Asks each prompt once.
        accounts: What it takes, query by query.
        scores: Shape (n,), to be filled; NaN until then.
    """

    once: Once[T]
    accounts: Accounts
    scores: Floats

    async def ask(self, case: Case, prompt: str, read: Callable[[Answer], Reading[T]]) -> T | None:
        """Ask for a case, and read the answer, all on its account; None, and the case has failed, if there is no answer."""
        heard, asked = await self.once.get(prompt, read)
        if isinstance(heard, CallError):
            if asked:
                self.accounts.add_call(case.number, heard)
            self.accounts.fail(case.number, heard.words)
            return None
        if asked:
            self.accounts.add_call(case.number, heard.answer)
        own = {"refused": heard.answer.refused, "overlong": heard.answer.cut}
        self.accounts.add_faults(case.number, [*heard.reading.faults, *(name for name, there in own.items() if there)])
        return heard.reading.value


@dataclass(frozen=True)
class LlmJudge(Reranker, Generic[T]):
    """A stage that ``llm_judge`` makes; its fields are the arguments of that function, ready to use."""

    model: str
    prompt: Prompt
    base_url: str
    api_key_env: str = "OPENAI_API_KEY"
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
    verbose: bool = False

    stage_name: ClassVar[str] = "llm_judge"
    weight_fields: ClassVar[frozenset[str]] = frozenset()  # the model is the server's
    how: ClassVar[How]
    accounts: ClassVar[tuple[str, ...]] = ACCOUNTS
    failed_column: ClassVar[str] = "llm_failed"
    schematic: ClassVar[dict[str, str | None]] = {"label": "LLM judge", "help_url": None}  # without it: a look-up on the network

    def __post_init__(self) -> None:
        """Refuse what no server could be asked with, all reasons at once."""
        problems = [*find_faults(self.prompt, self.how, self.instruction), *self._problems()]
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
            Shape (n,), finite, in row order; of a failed query 1/rank in its old order.
        """
        return self._judge(results, read_cases(results, self.text_field, self.instruction))[0]

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Give every row its score, its rank and its query's account, and keep every other column; no row, no call.

        Args:
            inp: Frame[qid, query, docno, text, ...]; with ``rank``, equal scores stay in that order, else in row order.

        Returns:
            The same rows in the same order, with score, rank and the columns of ``accounts``.
        """
        pt.validate.result_frame(inp, extra_columns=self.needs(), context=self)
        for column in self.needs():
            check_text(inp, column, self.stage_name)
        if not len(inp):
            nothing = Accounts(0, self.prices).columns(np.empty(0, np.int64))
            return inp.assign(score=np.empty(0), rank=np.empty(0, np.int64), **nothing)
        cases = read_cases(inp, self.text_field, self.instruction)
        score, accounts = self._judge(inp, cases)
        number = np.empty(len(inp), np.int64)
        for case in cases:
            number[case.rows] = case.number
        return inp.assign(score=score, rank=_rank(inp, score, cases), **accounts.columns(number))

    def _judge(self, results: pd.DataFrame, cases: list[Case]) -> tuple[Floats, Accounts]:
        """Ask for every case; a failed one is scored by its old order."""
        asked = next((case.instruction for case in cases if case.instruction), "")
        if problems := list(find_faults(self.prompt, self.how, asked)):
            raise PipelineError("llm_judge cannot pass on the column instruction", problems)
        accounts = Accounts(len(cases), self.prices)
        scores = np.full(len(results), np.nan)
        drive(lambda: self._ask(cases, accounts, scores))
        for case in cases:
            if case.number in accounts.failures:
                scores[case.rows] = by_place(len(case.rows))
        accounts.warn(self.stage_name, [case.qid for case in cases])
        return scores, accounts

    async def _ask(self, cases: list[Case], accounts: Accounts, scores: Floats) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - it looks for a notebook when imported

        fields = {"temperature": 0, "max_tokens": self.max_tokens, "seed": self.seed, **self.extra_fields()}
        fields |= json.loads(self.request)
        server = Server(self.model, self.base_url, self.api_key_env, fields, self.retries, self.timeout)
        async with server.open() as client:
            desk: Desk[T] = Desk(Once(Line(server, client, self._memory, self._patience).ask), accounts, scores)
            jobs = [job for case in cases for job in self.jobs(case, desk)]
            await work_off(tqdm(jobs, desc=self.stage_name, disable=not self.verbose), self.concurrency)

    @cached_property
    def _memory(self) -> Memory:
        return Memory()

    @cached_property
    def _patience(self) -> Patience:
        return Patience()

    def _problems(self) -> Iterator[str]:
        """Say what is wrong with the options."""
        for name, least in (("max_words", 1), ("max_tokens", 1), ("concurrency", 1), ("retries", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                yield f"{name} is {value!r}, expected a whole number, {least} or more"
        if not 0 < self.timeout < math.inf:
            yield f"timeout is {self.timeout!r}, expected seconds, more than 0"
        if not self.model:
            yield "model is empty, expected its name on the server"
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.netloc or "@" in url.netloc or url.query:
            yield "base_url is not like http://localhost:8000/v1, without password or query (it is not shown: it may hold a key)"
        if self.api_key_env and not re.fullmatch(r"[A-Za-z_]\w*", self.api_key_env):
            yield "api_key_env is not the name of an environment variable (it is not shown: it may be a key)"
        if self.prices is not None and not (len(self.prices) == 2 and all(0 <= price < math.inf for price in self.prices)):  # noqa: PLR2004
            yield f"prices is {self.prices!r}, expected US dollars a million tokens of prompts and of answers, e.g. (0.15, 0.6)"
        if ours := sorted(_OURS & set(json.loads(self.request))):
            yield f"request has {', '.join(ours)}, which are set here"


def by_place(n: int) -> Floats:
    """Score n documents by their place: 1/1, 1/2, ..., best first."""
    return 1 / np.arange(1, n + 1)


def _rank(results: pd.DataFrame, score: Floats, cases: list[Case]) -> Ints:
    """Rank by score, equal ones in their old order."""
    order = np.concatenate([case.rows for case in cases])
    rank = np.empty(len(results), np.int64)
    rank[order] = ranks(results["qid"].iloc[order], score[order])
    return rank
