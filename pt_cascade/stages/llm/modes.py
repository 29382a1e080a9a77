"""The three ways of judging: a grade for each document, a yes or no for each, or an order of them all."""

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

    from pt_cascade.stages.llm.desk import Desk
    from pt_cascade.stages.llm.messages import Answer
    from pt_cascade.stages.llm.prompts import How
    from pt_cascade.stages.llm.queries import Case

_GRADES = (0, 3)
_LISTED = 20  # the most that OpenAI lists at each place


@dataclass(frozen=True)
class PointJudge(LlmJudge[float]):
    """Judges each document by itself."""

    @abstractmethod
    def read(self, answer: Answer) -> Reading[float]:
        """Read a document's score in an answer."""

    def jobs(self, case: Case, desk: Desk[float]) -> Iterator[Callable[[], Awaitable[None]]]:
        """Give a job a document."""
        for place in range(len(case.rows)):
            yield partial(self._judge_one, case, place, desk)

    async def _judge_one(self, case: Case, place: int, desk: Desk[float]) -> None:
        document = cut_text(case.texts[place], self.max_words)
        prompt = self.prompt.render({"query": case.query, "document": document, "instruction": case.instruction})
        reading = await desk.ask(case, slice(place, place + 1), prompt, self.read)
        if reading is not None:
            desk.scores[case.rows[place]] = reading.value


@dataclass(frozen=True)
class GradedJudge(PointJudge):
    """Scores a document by its grade."""

    scale: tuple[int, int] = _GRADES

    how: ClassVar[How] = "graded"

    def read(self, answer: Answer) -> Reading[float]:
        """Read a grade."""
        return read_grade(answer.text, *self.scale, cut=answer.cut)

    def _problems(self) -> Iterator[str]:
        yield from super()._problems()
        scale: object = self.scale
        if not isinstance(scale, tuple) or tuple(map(type, scale)) != (int, int) or not 0 <= scale[0] < scale[1]:
            yield f"scale is {self.scale!r}, expected the lowest and the highest grade, whole numbers from 0, e.g. (0, 3)"
        elif self.scale != _GRADES and self.prompt == load_prompt(None, self.how):
            yield f"scale is {self.scale!r}, but the built-in prompt says what 0 to 3 mean, expected prompt='mine.txt' with it"


@dataclass(frozen=True)
class YesNoJudge(PointJudge):
    """Scores a document by the log-odds of a yes."""

    how: ClassVar[How] = "yes_no"

    def read(self, answer: Answer) -> Reading[float]:
        """Read log-odds."""
        return read_verdict(answer.text, answer.places, cut=answer.cut)

    def extra_fields(self) -> Mapping[str, object]:
        """Ask for log-probabilities."""
        return {"logprobs": True, "top_logprobs": _LISTED}


@dataclass(frozen=True)
class ListwiseJudge(LlmJudge[tuple[int, ...]]):
    """Orders the documents of a query, a window at a time, from the bottom up; the score is 1/rank."""

    window: int = 20
    step: int = 10

    depends: ClassVar[str] = "listwise"
    how: ClassVar[How] = "listwise"

    def jobs(self, case: Case, desk: Desk[tuple[int, ...]]) -> Iterator[Callable[[], Awaitable[None]]]:
        """Give one job a query: each window waits for the one below."""
        yield partial(self._judge_all, case, desk)

    async def _judge_all(self, case: Case, desk: Desk[tuple[int, ...]]) -> None:
        order = list(range(len(case.rows)))
        for window in slide(len(order), self.window, self.step):
            places = order[window]
            texts = [cut_text(case.texts[place], self.max_words) for place in places]
            values = {"query": case.query, "documents": number_documents(texts), "instruction": case.instruction}
            prompt = self.prompt.render({**values, "count": str(len(texts))})
            reading = await desk.ask(case, slice(None), prompt, partial(_read_order, n=len(texts)))
            if reading is None:
                return
            order[window] = [places[n] for n in reading.value]
        desk.scores[case.rows[order]] = [1 / rank for rank in range(1, len(order) + 1)]

    def _problems(self) -> Iterator[str]:
        yield from super()._problems()
        sizes = (self.window, self.step)
        if not all(type(size) is int for size in sizes) or not 1 <= self.step < self.window:
            yield f"window is {self.window!r} and step {self.step!r}, expected whole numbers, 1 or more, the step below the window"


def slide(n: int, window: int, step: int) -> Iterator[slice]:
    """Give the windows over a list of n as it then stands, lowest first; the last one begins at its top and may hold fewer.

    A judge that orders each of them rightly brings the best ``window - step`` documents to the top, in order.

    References:
        Sun et al., "Is ChatGPT Good at Search? Investigating Large Language Models as Re-Ranking Agents", EMNLP 2023, section 3.2.

    Example:
        >>> [(part.start, part.stop) for part in slide(45, window=20, step=10)]
        [(25, 45), (15, 35), (5, 25), (0, 15)]
    """
    end = n
    while end > 1:
        start = max(end - window, 0)
        yield slice(start, end)
        if start == 0:
            return
        end -= step


def _read_order(answer: Answer, n: int) -> Reading[tuple[int, ...]]:
    return read_list(answer.text, n, cut=answer.cut)
