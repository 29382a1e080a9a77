"""What the three ways of judging share: cases in, calls at once, scores and accounts out, failed queries in their old order."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np
import pyterrier as pt

from pt_cascade.errors import PipelineError
from pt_cascade.frames import check_text
from pt_cascade.ranking import ranks
from pt_cascade.stages.llm_accounts import ACCOUNTS, UNSURE, Accounts
from pt_cascade.stages.llm_calls import Once, drive, work_off
from pt_cascade.stages.llm_cases import INSTRUCTION, check_frame, read_cases
from pt_cascade.stages.llm_client import Line, Memory, Patience
from pt_cascade.stages.llm_failures import CallError
from pt_cascade.stages.llm_keys import OPENAI_KEY, read_key
from pt_cascade.stages.llm_options import find_option_faults
from pt_cascade.stages.llm_prompts import Prompt, find_faults
from pt_cascade.stages.llm_server import Server, connect
from pt_cascade.stages.reranker import Reranker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.llm_answers import Reading
    from pt_cascade.stages.llm_cases import Case
    from pt_cascade.stages.llm_messages import Answer
    from pt_cascade.stages.llm_prompts import How

T = TypeVar("T")


@dataclass
class Desk(Generic[T]):
    """Where the cases of one frame are judged.

    Attributes:
        once: Asks each prompt once.
        accounts: What it takes, query by query.
        scores: Shape (n,), to be filled; NaN until then.
        unsure: Shape (n,), to be set where a score stands on an answer of no worth.
    """

    once: Once[T]
    accounts: Accounts
    scores: Floats
    unsure: NDArray[np.bool_]

    async def ask(self, case: Case, rows: Ints, prompt: str, read: Callable[[Answer], Reading[T]]) -> T | None:
        """Ask about some rows of a case, and read the answer, on its account; None, and it has failed, if there is no answer."""
        heard, asked = await self.once.get(prompt, read, lambda: case.number not in self.accounts.failures)
        if isinstance(heard, CallError):
            if asked:
                self.accounts.add_call(case.number, heard)
            self.accounts.fail(case.number, heard.words)
            return None
        if asked:
            self.accounts.add_call(case.number, heard.answer)
        own = {"refused": heard.answer.refused, "overlong": heard.answer.cut}
        faults = [*heard.reading.faults, *(name for name, there in own.items() if there)]
        self.accounts.add_faults(case.number, faults)
        self.unsure[rows] |= not UNSURE.isdisjoint(faults)
        return heard.reading.value


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
    verbose: bool = False

    stage_name: ClassVar[str] = "llm_judge"
    weight_fields: ClassVar[frozenset[str]] = frozenset()  # the model is the server's
    how: ClassVar[How]
    accounts: ClassVar[tuple[str, ...]] = ACCOUNTS
    failed_column: ClassVar[str] = "llm_failed"
    unsure_column: ClassVar[str] = "llm_unsure"
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
            Shape (n,), finite, in row order; of a failed query 1/rank in its old order.
        """
        return self._judge(results, read_cases(results, self.text_field, self.instruction)).scores

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Give every row its score, its rank and its query's account, and keep every other column; no row, no call.

        Args:
            inp: Frame[qid, query, docno, text, ...]; with ``rank``, equal scores stay in that order, else in row order.

        Returns:
            The same rows in the same order, with score, rank, ``llm_unsure`` and the columns of ``accounts``.
        """
        pt.validate.result_frame(inp, extra_columns=self.needs(), context=self)
        check_frame(inp, self.needs())
        for column in self.needs():
            check_text(inp, column, self.stage_name)
        if not len(inp):
            nothing = Accounts(0, self.prices).columns(np.empty(0, np.int64))
            return inp.assign(score=np.empty(0), rank=np.empty(0, np.int64), llm_unsure=np.empty(0, bool), **nothing)
        cases = read_cases(inp, self.text_field, self.instruction)
        desk = self._judge(inp, cases)
        number = np.empty(len(inp), np.int64)
        for case in cases:
            number[case.rows] = case.number
        rank = _rank(inp, desk.scores, cases)
        return inp.assign(score=desk.scores, rank=rank, llm_unsure=desk.unsure, **desk.accounts.columns(number))

    def _judge(self, results: pd.DataFrame, cases: list[Case]) -> Desk[T]:
        """Ask for every case; a failed one is scored by its old order."""
        asked = next((case.instruction for case in cases if case.instruction), "")
        if problems := list(find_faults(self.prompt, self.how, asked)):
            raise PipelineError("llm_judge cannot pass on the column instruction", problems)
        accounts, n = Accounts(len(cases), self.prices), len(results)
        desk = drive(lambda: self._ask(cases, accounts, np.full(n, np.nan), np.zeros(n, bool)))
        for case in cases:
            if case.number in accounts.failures:
                desk.scores[case.rows] = by_place(len(case.rows))
        accounts.warn(self.stage_name, [case.qid for case in cases], self._memory.models)
        return desk

    async def _ask(self, cases: list[Case], accounts: Accounts, scores: Floats, unsure: NDArray[np.bool_]) -> Desk[T]:
        from tqdm import tqdm  # noqa: PLC0415 - it looks for a notebook when imported

        ours = {"temperature": 0, "max_tokens": self.max_tokens, "seed": self.seed, **self.extra_fields()}
        server = Server(self.model, self.base_url, {**ours, **json.loads(self.request)}, self.retries, self.timeout)
        key = read_key(self.api_key_env, self.base_url)
        async with connect(server, key) as client:
            line = Line(server, key, client, self._memory, self._patience)
            desk: Desk[T] = Desk(Once(line.ask), accounts, scores, unsure)
            jobs = [job for case in cases for job in self.jobs(case, desk)]
            await work_off(tqdm(jobs, desc=self.stage_name, disable=not self.verbose), self.concurrency)
        return desk

    @cached_property
    def _memory(self) -> Memory:
        return Memory()

    @cached_property
    def _patience(self) -> Patience:
        return Patience()

    def _prompt_problems(self) -> Iterator[str]:
        prompt: object = self.prompt
        if isinstance(prompt, Prompt):
            yield from find_faults(prompt, self.how, str(self.instruction or ""))
        else:
            yield f"prompt is {prompt!r:.60}, expected the path of a text file, or None"

    def _problems(self) -> Iterator[str]:
        """Say what is wrong with the options."""
        yield from find_option_faults({one.name: getattr(self, one.name) for one in fields(self)})


def by_place(n: int) -> Floats:
    """Score n documents by their place: 1/1, 1/2, ..., best first."""
    return 1 / np.arange(1, n + 1)


def _rank(results: pd.DataFrame, score: Floats, cases: list[Case]) -> Ints:
    """Rank by score, equal ones in their old order."""
    order = np.concatenate([case.rows for case in cases])
    rank = np.empty(len(results), np.int64)
    rank[order] = ranks(results["qid"].iloc[order], score[order])
    return rank
