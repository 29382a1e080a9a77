"""The three modes of a judge: a grade for each document, yes or no for each, or an order of all."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pt_cascade.stages.llm.answers import Reading, read_grade, read_verdict
from pt_cascade.stages.llm.lists import read_list
from pt_cascade.stages.llm.prompts import cut_text, load_prompt, number_documents
from pt_cascade.stages.llm.stage import LlmJudge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from pt_cascade.stages.llm.judgments import Judgments
    from pt_cascade.stages.llm.prompts import Mode
    from pt_cascade.stages.llm.queries import Query
    from pt_cascade.stages.llm.responses import Response

_GRADES = (0, 3)


@dataclass(frozen=True)
class PointwiseJudge(LlmJudge):
    """Judges each document by itself."""

    @abstractmethod
    def read(self, response: Response) -> Reading:
        """Read the score of a document."""

    def jobs(self, query: Query, judgments: Judgments) -> Iterator[Callable[[], Awaitable[None]]]:
        """Give one job for each document."""
        return (partial(self._judge_one, query, place, judgments) for place in range(len(query.rows)))

    async def _judge_one(self, query: Query, place: int, judgments: Judgments) -> None:
        document = cut_text(query.texts[place], self.max_words)
        prompt = self.prompt.render({"query": query.text, "document": document, "instruction": query.instruction})
        reading = await judgments.ask(query, slice(place, place + 1), prompt, self.read)
        if reading is not None:
            judgments.scores[query.rows[place]] = reading.value


@dataclass(frozen=True)
class GradedJudge(PointwiseJudge):
    """Scores a document by its grade."""

    scale: tuple[int, int] = _GRADES

    how: ClassVar[Mode] = "graded"

    def read(self, response: Response) -> Reading:
        """Read a grade."""
        return read_grade(response.text, *self.scale, cut=response.cut)

    def find_faults(self) -> Iterator[str]:
        """Name the options that are out of range."""
        yield from super().find_faults()
        scale: object = self.scale
        if not isinstance(scale, tuple) or tuple(map(type, scale)) != (int, int) or not 0 <= scale[0] < scale[1]:
            yield f"scale is {self.scale!r}, expected the lowest and the highest grade, whole numbers from 0, e.g. (0, 3)"
        elif self.scale != _GRADES and self.prompt == load_prompt(None, self.how):
            yield f"scale is {self.scale!r}, but the built-in prompt explains 0 to 3, expected prompt='mine.txt' with it"


@dataclass(frozen=True)
class YesNoJudge(PointwiseJudge):
    """Scores a document by the log-odds of yes."""

    how: ClassVar[Mode] = "yes_no"
    extra_fields: ClassVar[Mapping[str, object]] = {"logprobs": True, "top_logprobs": 20}  # the most that OpenAI lists

    def read(self, response: Response) -> Reading:
        """Read log-odds."""
        return read_verdict(response.text, response.logprobs, cut=response.cut)


@dataclass(frozen=True)
class ListwiseJudge(LlmJudge):
    """Orders the documents of a query, a window at a time, from the bottom up; the score is 1/rank."""

    window: int = 20
    step: int = 10

    depends: ClassVar[str] = "listwise"
    how: ClassVar[Mode] = "listwise"

    def jobs(self, query: Query, judgments: Judgments) -> Iterator[Callable[[], Awaitable[None]]]:
        """Give one job for the query, as each window waits for the one below."""
        yield partial(self._judge_all, query, judgments)

    async def _judge_all(self, query: Query, judgments: Judgments) -> None:
        order = list(range(len(query.rows)))
        for window in slide(len(order), self.window, self.step):
            places = order[window]
            texts = [cut_text(query.texts[place], self.max_words) for place in places]
            values = {"query": query.text, "documents": number_documents(texts), "instruction": query.instruction}
            prompt = self.prompt.render({**values, "count": str(len(texts))})
            reading = await judgments.ask(query, slice(None), prompt, partial(_read_order, n=len(texts)))
            if reading is None:
                return
            order[window] = [places[n] for n in reading.order]
        judgments.scores[query.rows[order]] = [1 / rank for rank in range(1, len(order) + 1)]

    def find_faults(self) -> Iterator[str]:
        """Name the options that are out of range."""
        yield from super().find_faults()
        sizes = (self.window, self.step)
        if not all(type(size) is int for size in sizes) or not 1 <= self.step < self.window:
            yield f"window is {self.window!r} and step {self.step!r}, expected whole numbers, 1 or more, the step below the window"


def slide(n: int, window: int, step: int) -> Iterator[slice]:
    """Give the windows over a list of n, lowest first, as Sun et al. (EMNLP 2023, section 3.2); the topmost may be shorter."""
    start, end = n, n
    while start > 0 and end > 1:
        start = max(end - window, 0)
        yield slice(start, end)
        end -= step


def _read_order(response: Response, n: int) -> Reading:
    return read_list(response.text, n, cut=response.cut)
