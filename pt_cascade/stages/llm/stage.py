"""The stage of an LLM judge, which its three modes share: queries in, concurrent calls, scores and counts out."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.errors import PipelineError, require
from pt_cascade.frames import check_text
from pt_cascade.ranking import ranks, score_below
from pt_cascade.stages.base.identity import SPEED_FIELDS
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.llm.client import Client, ServerState
from pt_cascade.stages.llm.connection import OPENAI_KEY, connect, find_option_faults, read_key
from pt_cascade.stages.llm.judgments import Judgments, run_jobs
from pt_cascade.stages.llm.prompts import Prompt, find_faults
from pt_cascade.stages.llm.queries import INSTRUCTION, check_frame, read_queries
from pt_cascade.stages.llm.usage import ACCOUNTS, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.base.identity import Identity
    from pt_cascade.stages.llm.prompts import Mode
    from pt_cascade.stages.llm.queries import Query


@dataclass(frozen=True)
class LlmJudge(Reranker):
    """The stage that ``llm_judge`` makes; its fields are the checked arguments of that function."""

    model: str
    prompt: Prompt
    base_url: str
    api_key_env: str = field(default=OPENAI_KEY, repr=False)
    instruction: str = ""
    text_field: str = "text"
    max_words: int = 300
    max_tokens: int = 16
    seed: int | None = 0
    request: str = field(default="{}", repr=False)  # it may hold a secret
    concurrency: int = 8
    retries: int = 5
    timeout: float = 60.0
    prices: tuple[float, float] | None = None
    on_error: str = "raise"
    verbose: bool = False

    stage_name: ClassVar[str] = "llm_judge"
    weight_fields: ClassVar[frozenset[str]] = frozenset()  # the server has the model
    speed_fields: ClassVar[frozenset[str]] = SPEED_FIELDS | {"on_error"}
    how: ClassVar[Mode]
    extra_fields: ClassVar[Mapping[str, object]] = {}  # of a call, beside those of all modes
    accounts: ClassVar[tuple[str, ...]] = ACCOUNTS
    failed_column: ClassVar[str] = "llm_failed"
    schematic: ClassVar[dict[str, str | None]] = {"label": "LLM judge", "help_url": None}  # PyTerrier looks for a URL otherwise

    def __post_init__(self) -> None:
        """Refuse options that are out of range, all at once."""
        if problems := list(self.find_faults()):
            raise PipelineError("llm_judge cannot be made", problems)

    @abstractmethod
    def jobs(self, query: Query, judgments: Judgments) -> Iterator[Callable[[], Awaitable[None]]]:
        """Give the jobs of a query, which may run at once; each fills scores, or marks documents as failed."""

    def find_faults(self) -> Iterator[str]:
        """Name the options that are out of range."""
        prompt: object = self.prompt
        if isinstance(prompt, Prompt):
            yield from find_faults(prompt, self.how, str(self.instruction or ""))
        else:
            yield f"prompt is {prompt!r:.60}, expected the path of a text file, or None"
        yield from find_option_faults(vars(self))

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
        pt.validate.result_frame(inp, extra_columns=self.needs(), context=self)
        check_frame(inp, self.needs())
        for column in self.needs():
            check_text(inp, column, self.stage_name)
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
        from tqdm import tqdm  # noqa: PLC0415 - it looks for a notebook when imported

        defaults = {"temperature": 0, "max_tokens": self.max_tokens, "seed": self.seed, **self.extra_fields}
        key = read_key(self.api_key_env, self.base_url)
        async with connect(self.base_url, key, self.retries, self.timeout) as connection:
            client = Client(connection, self._state, self.model, defaults, json.loads(self.request))
            usage, keep = Usage(len(queries), self.prices), self.on_error == "keep"
            judgments = Judgments(client, usage, keep, np.full(n, np.nan), np.zeros(n, bool))
            turns = zip_longest(*(self.jobs(query, judgments) for query in queries))
            jobs = [job for turn in turns for job in turn if job is not None]
            with tqdm(jobs, desc=self.stage_name, disable=not self.verbose) as bar:
                await run_jobs(bar, self.concurrency)
        return judgments

    @cached_property
    def _state(self) -> ServerState:
        return ServerState()
