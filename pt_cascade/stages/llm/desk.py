"""Where the cases of one frame are judged: each prompt asked once, each answer read and accounted for, each failure marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pt_cascade.stages.llm.concurrency import Heard
from pt_cascade.stages.llm.prompts import count_least

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.llm.answers import Reading
    from pt_cascade.stages.llm.client import Client
    from pt_cascade.stages.llm.concurrency import Once
    from pt_cascade.stages.llm.messages import Answer
    from pt_cascade.stages.llm.queries import Case
    from pt_cascade.stages.llm.usage import Accounts

T = TypeVar("T")

EARLY = 20  # answers of no use from the first on, after which nothing else is expected
_FEW = 2  # queries that may be of a kind that a model refuses
_MORE = 1024
_KEEP = "llm_judge(..., on_error='keep') goes on, and marks what has no judgment"
_PROMPT = "look at the model, the prompt, and the fields of request"
_CONTEXT = "raise the server's context length (Ollama: num_ctx, vLLM: --max-model-len, llama.cpp: --ctx-size)"


@dataclass
class Desk(Generic[T]):
    """The state of one frame of n rows."""

    client: Client
    once: Once[T]
    accounts: Accounts
    keep: bool  # whether to go on where there is no judgment
    scores: Floats  # shape (n,), to be filled; NaN without a score
    failed: NDArray[np.bool_]  # shape (n,), to be set where there is no judgment

    async def ask(self, case: Case, documents: slice, prompt: str, read: Callable[[Answer], Reading[T]]) -> Reading[T] | None:
        """Ask about documents of a case, on its account; None, and they are marked, where there is no answer to read."""
        heard, asked = await self.once.get(prompt, read)
        if asked:
            self.accounts.add_call(case.number, heard.answer if isinstance(heard, Heard) else heard)
        if not isinstance(heard, Heard):
            self._fail(case, documents, heard.words)
            return None
        answer, reading = heard.answer, heard.reading
        self.accounts.add_faults(case.number, {"refused"} if answer.refused else reading.faults)
        seen, least = answer.tokens[0], count_least(prompt)
        if answer.refused:
            self._fail(case, documents, f"the model refused: {answer.instead or self.client.shorten(answer.text)}")
        elif seen is not None and seen < least:
            why = f"the server read {seen} tokens of a prompt that has {least} words, as its context holds no more"
            self._fail(case, documents, why, f"{_CONTEXT}, or llm_judge(..., max_words=...)")
        elif "unread" in reading.faults:
            self._fail(case, documents, *self._explain(answer))
            return reading
        else:
            self.client.memory.useful = True
            return reading
        return None

    def _explain(self, answer: Answer) -> tuple[str, str]:
        """Say why an answer cannot be read, and what may help."""
        said = answer.instead or f"{self.client.shorten(answer.text)!r:.150}"
        if not answer.cut:
            return f"nothing can be read in its answer, {said}", ""
        most = self.client.max_tokens
        more = f"llm_judge(..., max_tokens={max(_MORE, 4 * most)}), or a field of request that turns reasoning off"
        return f"its answer was cut off at max_tokens={most} before there was anything to read: {said}", more

    def _fail(self, case: Case, documents: slice, why: str, fix: str = "") -> None:
        """Mark what has no judgment; stop where that is not wanted, or where no answer has been of use so far."""
        docnos = case.docnos[documents]
        where = f"qid {case.qid!r}" + (f", docno {docnos[0]!r}" if len(docnos) == 1 else "")
        self.failed[case.rows[documents]] = True
        self.accounts.fail(case.number, f"{where}: {why}")
        if not self.keep:
            raise self.client.stop([why], f"llm_judge has no judgment of {where}", fix or _KEEP)
        memory = self.client.memory
        memory.useless += [] if memory.useful else [case.query]
        if len(memory.useless) >= EARLY and (fix or len(set(memory.useless)) > _FEW):
            problem = f"the first {len(memory.useless)} are of no use, the last one for this: {why}"
            memory.useless = []
            raise self.client.stop([problem], "llm_judge gets no answer that can be read", fix or _PROMPT)
