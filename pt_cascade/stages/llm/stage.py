"""The stage of an LLM judge: queries in, concurrent calls for a grade, a yes or an order, scores and counts out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from pt_cascade.cascade.columns import check_input
from pt_cascade.errors import PipelineError, require
from pt_cascade.progress import show_progress
from pt_cascade.ranking import ranks, score_below
from pt_cascade.stages.base.identity import SPEED_FIELDS
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.llm.answers import read_grade, read_verdict
from pt_cascade.stages.llm.client import Client, ServerState
from pt_cascade.stages.llm.connection import connect, find_option_faults, read_key
from pt_cascade.stages.llm.judgments import Judgments, run_jobs
from pt_cascade.stages.llm.lists import read_list
from pt_cascade.stages.llm.prompts import Prompt, cut_text, find_faults, load_prompt, number_documents, slide
from pt_cascade.stages.llm.queries import INSTRUCTION, check_frame, read_queries
from pt_cascade.stages.llm.usage import ACCOUNTS, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.base.identity import Identity
    from pt_cascade.stages.llm.answers import Reading
    from pt_cascade.stages.llm.prompts import Mode
    from pt_cascade.stages.llm.queries import Query
    from pt_cascade.stages.llm.responses import Response

_GRADES = (0, 3)


@dataclass(frozen=True)
class LlmJudge(Reranker):
    """The stage that ``llm_judge`` makes; its fields are the checked arguments of that function."""

    how: Mode
    model: str
    prompt: Prompt
    base_url: str
    api_key_env: str = field(repr=False)
    instruction: str
    text_field: str
    max_words: int
    max_tokens: int
    scale: tuple[int, int]  # of grades
    window: int  # of a list
    step: int
    seed: int | None
    request: str = field(repr=False)  # it may hold a secret
    concurrency: int
    retries: int
    timeout: float
    prices: tuple[float, float] | None
    on_error: str
    verbose: bool

    stage_name: ClassVar[str] = "llm_judge"
    weight_fields: ClassVar[frozenset[str]] = frozenset()  # the server has the model
    accounts: ClassVar[tuple[str, ...]] = ACCOUNTS
    failed_column: ClassVar[str] = "llm_failed"
    schematic: ClassVar[dict[str, str | None]] = {"label": "LLM judge", "help_url": None}  # PyTerrier looks for a URL otherwise

    def __post_init__(self) -> None:
        """Refuse options that are out of range, all at once."""
        if problems := list(self.find_faults()):
            raise PipelineError("llm_judge cannot be made", problems)

    @property
    def depends(self) -> str:  # type: ignore[override] # of the class elsewhere
        """What a score depends on: its document, or the whole list."""
        return "listwise" if self.how == "listwise" else "pointwise"

    @property
    def batch_size(self) -> int:
        """The rows to score at a time under a time limit."""
        return self.concurrency

    @property
    def speed_fields(self) -> frozenset[str]:  # type: ignore[override] # of the class elsewhere
        """The fields that do not change a score."""
        unread = {"graded": {"window", "step"}, "yes_no": {"scale", "window", "step"}, "listwise": {"scale"}}
        return SPEED_FIELDS | {"on_error", *unread[self.how]}

    def find_faults(self) -> Iterator[str]:
        """Name the options that are out of range."""
        prompt: object = self.prompt
        if isinstance(prompt, Prompt):
            yield from find_faults(prompt, self.how, self.instruction if isinstance(self.instruction, str) else "")
        else:
            yield f"prompt is {prompt!r:.60}, expected the path of a text file, or None"
        yield from find_option_faults(vars(self))
        scale, sizes = self.scale, (self.window, self.step)
        if self.how == "listwise" and ([*map(type, sizes)] != [int, int] or not 1 <= self.step < self.window):
            yield f"window is {self.window!r} and step {self.step!r}, expected whole numbers, 1 or more, the step below the window"
        if self.how != "graded":
            return
        if not isinstance(scale, tuple) or [*map(type, scale)] != [int, int] or not 0 <= scale[0] < scale[1]:
            yield f"scale is {scale!r}, expected the lowest and the highest grade, whole numbers from 0, e.g. (0, 3)"
        elif scale != _GRADES and prompt == load_prompt(None, self.how):
            yield f"scale is {scale!r}, but the built-in prompt explains 0 to 3, expected prompt='mine.txt' with it"

    def needs(self) -> list[str]:
        """Name the columns that are needed beside qid and docno."""
        return ["query", self.text_field]

    def reads(self) -> list[str]:
        """Name the columns that change a score, beside the query; they may be missing."""
        return [self.text_field, INSTRUCTION]

    def identify(self) -> Identity:
        """Identify all that a score depends on, the user's fields by a hash, as they may hold a secret."""
        return {**super().identify(), "request": Prompt("request", self.request).hash}

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row of Frame[qid, query, docno, text, ...]: shape (n,), finite; without a judgment, below its query's rest."""
        return self.transform(results)["score"].to_numpy()

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Add score, rank, ``llm_failed`` and the columns of ``accounts``; other columns and the row order stay.

        Args:
            inp: Frame[qid, query, docno, text, ...]; equal scores stay in the order of ``rank``, or of the rows without it.

        Returns:
            The same rows in the same order.
        """
        check_input(self, inp, self.needs(), self.needs())
        check_frame(inp, self.needs())
        number = pd.factorize(inp["qid"])[0].astype(np.int64)
        score, failed, usage, rank = np.empty(0), np.empty(0, bool), Usage(0, self.prices), np.empty(len(inp), np.int64)
        if len(inp):
            queries = read_queries(inp, self.text_field, self.instruction)
            judgments = self._judge(queries, len(inp))
            order = np.concatenate([query.rows for query in queries])
            failed, usage = judgments.failed, judgments.usage
            score = score_below(number, judgments.scores, np.argsort(order))
            rank[order] = ranks(inp["qid"].iloc[order], score[order])
        return inp.assign(score=score, rank=rank, llm_failed=failed, **usage.columns(number))

    def _judge(self, queries: list[Query], n: int) -> Judgments:
        instruction = next((query.instruction for query in queries if query.instruction), "")
        if problems := list(find_faults(self.prompt, self.how, instruction)):
            raise PipelineError("llm_judge cannot pass on the column instruction", problems)
        require("openai", why="llm_judge")
        from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - it comes with openai

        with start_blocking_portal() as portal:  # in a thread, since a notebook has an event loop; Ctrl-C cancels all calls
            judgments = portal.call(self._ask, queries, n)
        judgments.usage.warn(self.stage_name, self._state.changes)
        return judgments

    async def _ask(self, queries: list[Query], n: int) -> Judgments:
        """Ask about a document of each query in turn, so that a query that always fails does not come first as a whole."""
        defaults = {"temperature": 0, "max_tokens": self.max_tokens, "seed": self.seed}
        if self.how == "yes_no":
            defaults |= {"logprobs": True, "top_logprobs": 20}  # the most that OpenAI lists
        key = read_key(self.api_key_env, self.base_url)
        async with connect(self.base_url, key, self.retries, self.timeout) as connection:
            client = Client(connection, self._state, self.model, defaults, json.loads(self.request))
            usage, keep = Usage(len(queries), self.prices), self.on_error == "keep"
            judgments = Judgments(client, usage, keep, np.full(n, np.nan), np.zeros(n, bool))
            turns = zip_longest(*(self._list_jobs(query, judgments) for query in queries))
            jobs = [job for turn in turns for job in turn if job is not None]
            unit = "query" if self.how == "listwise" else "doc"
            with show_progress(self.stage_name, unit, len(jobs), shown=self.verbose) as bar:
                await run_jobs(jobs, self.concurrency, bar.update)
        return judgments

    def _list_jobs(self, query: Query, judgments: Judgments) -> Iterator[Callable[[], Awaitable[None]]]:
        """Give the jobs of a query, which may run at once; a list is one, as each window waits for the one below."""
        if self.how == "listwise":
            yield partial(self._order_all, query, judgments)
        else:
            yield from (partial(self._judge_one, query, place, judgments) for place in range(len(query.rows)))

    async def _judge_one(self, query: Query, place: int, judgments: Judgments) -> None:
        document = cut_text(query.texts[place], self.max_words)
        prompt = self.prompt.render({"query": query.text, "document": document, "instruction": query.instruction})
        reading = await judgments.ask(query, slice(place, place + 1), prompt, partial(self._read, 1))
        if reading is not None:
            judgments.scores[query.rows[place]] = reading.value

    def _read(self, documents: int, response: Response) -> Reading:
        if self.how == "listwise":
            return read_list(response.text, documents, cut=response.cut)
        if self.how == "yes_no":
            return read_verdict(response.text, response.logprobs, cut=response.cut)
        return read_grade(response.text, *self.scale, cut=response.cut)

    async def _order_all(self, query: Query, judgments: Judgments) -> None:
        order = list(range(len(query.rows)))
        for window in slide(len(order), self.window, self.step):
            places = order[window]
            texts = [cut_text(query.texts[place], self.max_words) for place in places]
            values = {"query": query.text, "documents": number_documents(texts), "instruction": query.instruction}
            prompt = self.prompt.render({**values, "count": str(len(texts))})
            reading = await judgments.ask(query, slice(None), prompt, partial(self._read, len(texts)))
            if reading is None:
                return
            order[window] = [places[n] for n in reading.order]
        judgments.scores[query.rows[order]] = [1 / rank for rank in range(1, len(order) + 1)]

    @cached_property
    def _state(self) -> ServerState:
        return ServerState()
