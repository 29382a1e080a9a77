"""A re-ranker of long documents: each document is cut into passages, a stage scores these, and their scores become its own."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.cascade.calls import call, list_changes
from pt_cascade.cascade.columns import check_input
from pt_cascade.cascade.known import look_up
from pt_cascade.cascade.wrappers import held
from pt_cascade.errors import PipelineError, StageError
from pt_cascade.frames import canonical_input, canonical_results
from pt_cascade.numbers import is_whole
from pt_cascade.ranking import locate, ranks, rescore, score_below
from pt_cascade.stages.base.identity import can_identify, identify_any
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.base.windows import Windows
from pt_cascade.stages.base.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.base.identity import Identity
    from pt_cascade.stages.base.windows import Take

_FIX = 'passages(cross_encoder("cross-encoder/ms-marco-MiniLM-L6-v2"), length=150, stride=75)'


@dataclass(frozen=True)
class Passages(Wrapper, Reranker):  # type: ignore[override] # its name is that of its stage
    """Re-rank long documents by their passages: a pointwise stage scores each, and the document takes the best score, or a mean.

    The ranking, its scores and the order of its rows are those of ``pt.text.sliding(...) >> stage >> pt.text.max_passage()``, or
    ``first_passage``, ``mean_passage``, ``kmaxavg_passage(k)``: equal scores rank by docno. Other than there, the columns of the
    document stay, its text too; titles go with documents shorter than a passage; and with ``take="first"`` no other passage is
    scored. A document with fewer words than ``length`` is one passage. As there, words after the last whole passage are not read,
    up to ``stride - 1`` of them.

    With ``first`` and ``best``, a cheap stage scores all passages, and ``stage`` only the ``best`` of each document; of equal
    scores the earlier passage.

    A pair of its cost is a passage that a model scores, in the trace, in ``profile`` and in a ``Cost``. ``passages(cached(stage,
    path))`` keeps scores by the text of a passage, ``cached(passages(stage), path)`` by that of a document.

    Args:
        stage: A re-ranker that reads texts and scores each by itself, e.g. ``cross_encoder``, ``mono_t5``.
        length: Words of a passage, 1 or more.
        stride: Words from the start of a passage to that of the next, 1 to ``length``.
        take: The score of a document: ``max`` of its passages, that of the ``first``, the ``mean``, or ``kmax``, the mean of the k
            highest.
        k: For ``kmax``: how many, 1 or more.
        text_field: The column with the document's text, which the stage reads too.
        title_field: A column whose text stands before each passage, e.g. the title; None: none.
        first: A cheap re-ranker that picks the passages which ``stage`` reads.
        best: How many passages of each document it picks, 1 or more.

    Returns:
        A transformer from Frame[qid, query, docno, text, ...] to the same documents with score and rank, by qid and docno.

    Raises:
        PipelineError: An option is out of range, or a stage retrieves, compares documents, or reads no text.
        StageError: When used: a column is missing, or a stage failed, or lost or added a passage.
        FrameError: When used: a text is missing, or a docno has the mark of a passage, ``%p``.

    References:
        Dai & Callan, "Deeper Text Understanding for IR with Contextual Neural Language Modeling", SIGIR 2019: max, first.

    Example:
        >>> words = pt.apply.doc_score(lambda row: row["text"].split().count("heat"))
        >>> found = pd.DataFrame({"qid": "1", "query": "heat", "docno": ["a", "b"], "text": ["heat flow and heat", "heat"]})
        >>> passages(words, length=2, stride=1, take="max").transform(found)["score"].tolist()
        [1.0, 1.0]
        >>> passages(words, length=3, stride=1, take="mean").count_pairs(found).tolist()
        [2, 1]
    """

    stage: pt.Transformer
    _: KW_ONLY
    length: int = 150
    stride: int = 75
    take: Take = "max"
    k: int | None = None
    text_field: str = "text"
    title_field: str | None = None
    first: pt.Transformer | None = None
    best: int | None = None

    schematic: ClassVar[dict[str, str | None]] = {"label": "Passages", "inner_pipelines_mode": "linked", "help_url": None}

    def __post_init__(self) -> None:
        """Refuse what cannot be done, all problems at once."""
        problems = [*self.windows.find_problems(), *self._check_choice(), *self._check_stage("stage", self.stage)]
        problems += [] if self.first is None else self._check_stage("first", self.first)
        if problems:
            raise PipelineError("passages cannot be made", problems, fix=_FIX)

    @property
    def windows(self) -> Windows:
        """How documents are cut into passages, and what they take of them."""
        return Windows(self.length, self.stride, self.take, self.k, self.text_field, self.title_field)

    def _check_choice(self) -> Iterator[str]:
        if (self.first is None) != (self.best is None) or not (self.best is None or is_whole(self.best, least=1)):
            yield f"first is {self.first!r:.60} and best {self.best!r}, expected a re-ranker and 1 or more, or both None"
        elif self.first is not None and self.take == "first":
            yield "first picks passages, but take='first' reads the first passage only"

    def _check_stage(self, name: str, stage: pt.Transformer) -> list[str]:
        """List what keeps a stage from scoring passages."""
        if not isinstance(stage, pt.Transformer):
            return [f"{name} is {stage!r:.60} ({type(stage).__name__}), expected a re-ranker"]
        parts, problems = [*held(stage)], list[str]()
        for part in parts:
            known = look_up(part)
            if known.documents != "reranks" or isinstance(part, pt.RankCutoff):
                found = "retrieves, or may add or remove documents"
                return [f"{name} holds {known.name}, which {found}, expected a re-ranker, or transformer.documents = 'reranks'"]
            if known.depends in ("pairwise", "listwise"):
                found = f"is {known.depends}: it scores a passage by the others"
                return [f"{name} holds {known.name}, which {found}, expected a pointwise stage"]
            if isinstance(part, Passages):
                return [f"{name} holds {known.name}, which reads passages already, expected the stage itself"]
            if isinstance(part, Reranker) and self.text_field not in part.needs():
                reads = ", ".join(part.needs())
                problems.append(
                    f"{name} is {known.name}, which reads {reads}, expected {self.text_field}, as late_interaction(model) reads"
                )
        if name == "first" and (failing := [part for part in parts if getattr(part, "failed_column", "")]):
            problems.append(f"first is {look_up(failing[0]).name}, which may fail on a passage, expected one that scores each")
        return problems[:1]

    @property
    def stages(self) -> list[pt.Transformer]:
        """The stages that score passages, in order."""
        return [self.stage] if self.first is None else [self.first, self.stage]

    @property
    def depends(self) -> str:  # type: ignore[override] # of the class elsewhere
        """What a score depends on: ``pointwise``, or ``unknown`` as for its stages."""
        return "pointwise" if all(look_up(part).depends == "pointwise" for part in self.stages) else "unknown"

    @property
    def identify(self) -> Callable[[], Identity] | None:  # type: ignore[override] # of the class elsewhere
        """The method that identifies all that a score depends on; None where a stage has none."""
        return self._identify if all(map(can_identify, self.stages)) else None

    @property
    def count_tokens(self) -> Callable[[pd.DataFrame], Floats] | None:
        """The method that counts the tokens that the models read for each document; None where a stage has none."""
        return self._count_tokens if all(hasattr(_bare(part), "count_tokens") for part in self.stages) else None

    def _identify(self) -> Identity:
        settings = ("length", "stride", "take", "k", "text_field", "title_field", "best")
        own = {"class": f"{type(self).__module__}.{type(self).__qualname__}"}
        own |= {name: repr(getattr(self, name)) for name in settings}
        for name, part in zip(("stage", "first"), reversed(self.stages), strict=False):
            own |= {f"{name}.{key}": value for key, value in identify_any(part).items()}
        return own

    def needs(self) -> list[str]:
        """Name the columns that are needed beside qid and docno."""
        inner = (_bare(part) for part in self.stages)
        columns = [column for part in inner if isinstance(part, Reranker) for column in part.needs()]
        return list(dict.fromkeys(["query", self.text_field, *([self.title_field] if self.title_field else []), *columns]))

    def reads(self) -> list[str]:
        """Name the columns that, with the query, distinguish one score from another; none if a stage does not say."""
        inner = [_bare(part) for part in self.stages]
        if not all(isinstance(part, Reranker) for part in inner):
            return []
        return list(dict.fromkeys([*super().reads(), *(column for part in inner for column in part.reads())]))

    def count_pairs(self, results: pd.DataFrame) -> Ints:
        """Count the passages that models score for each document: shape (n,); those that two stages score count twice."""
        windows = self.windows.count(results)
        return windows if self.best is None else windows + np.minimum(windows, self.best)

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each document, shape (n,), in row order."""
        ranked = self.transform(results)
        scores: Floats = ranked["score"].to_numpy(np.float64)[locate(canonical_input(results), ranked)]
        return scores

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Give every document its score and its rank, and keep every other column.

        Args:
            inp: Frame[qid, query, docno, text, ...].

        Returns:
            The same documents, by qid and docno.
        """
        check_input(self, inp, self.needs(), self.needs())
        if not len(inp):
            added = [name for name in (*self.accounts, self.failed_column) if name]
            nothing = self.stage.transform(inp) if added else inp
            return rescore(inp, np.empty(0)).assign(**{name: nothing[name] for name in added})
        given = canonical_input(inp)
        passages, document = self._choose(*self.windows.cut(given, self.stage_name))
        answer = self._ask(self.stage, passages)
        taken = self.windows.aggregate(answer)
        out = given.iloc[locate(taken, given)].reset_index(drop=True)
        out = out.assign(score=taken["score"].to_numpy(), rank=taken["rank"].to_numpy())
        used = answer.drop_duplicates("qid").set_index("qid")
        out = out.assign(**{name: used[name].reindex(out["qid"]).to_numpy() for name in self.accounts if name in used})
        return self._mark_failed(out, answer, document[locate(answer, passages)], given)

    def _choose(self, passages: pd.DataFrame, document: Ints) -> tuple[pd.DataFrame, Ints]:
        """Keep the passages of each document that the cheap stage picks."""
        if self.first is None or self.best is None:
            return passages, document
        answer = self._ask(self.first, passages)
        score = answer["score"].to_numpy(np.float64)[locate(passages, answer)]
        chosen = ranks(pd.Series(document), score) < self.best
        return passages[chosen].reset_index(drop=True), document[chosen]

    def _ask(self, stage: pt.Transformer, passages: pd.DataFrame) -> pd.DataFrame:
        """Score passages; refuse an answer with other passages, or without a finite score for each."""
        answer = call(stage, passages, self.stage_name)
        if problems := list_changes(passages, canonical_results(answer, self.stage_name)):
            raise StageError(f"stage {look_up(stage).name!r} did not return the passages of its input", problems)
        return answer.reset_index(drop=True)

    def _mark_failed(self, out: pd.DataFrame, answer: pd.DataFrame, document: Ints, given: pd.DataFrame) -> pd.DataFrame:
        """Mark documents of which a passage failed, and rank them below the others, in their earlier order."""
        if self.failed_column not in answer:
            return out
        failed = np.zeros(len(given), np.bool_)
        failed[document[answer[self.failed_column].to_numpy(np.bool_)]] = True
        row = locate(out, given)
        place = given["rank"].to_numpy() if "rank" in given else np.arange(len(given))
        score = np.where(failed[row], -np.inf, out["score"].to_numpy(np.float64))
        below = score_below(pd.factorize(out["qid"])[0].astype(np.int64), score, place[row])
        return rescore(out.assign(**{self.failed_column: failed[row]}), below)

    def _count_tokens(self, results: pd.DataFrame) -> Floats:
        """Count the tokens of each document's passages; the cheap stage runs, as it picks them."""
        cut = self.windows.cut(canonical_input(results), self.stage_name)
        read = [(self.stage, *self._choose(*cut)), *([] if self.first is None else [(self.first, *cut)])]
        counts = [np.bincount(document, _bare(part).count_tokens(frame), len(results)) for part, frame, document in read]
        total: Floats = np.sum(counts, axis=0)
        return total


def _bare(stage: pt.Transformer) -> pt.Transformer:
    """Look through a cache at the stage itself."""
    return getattr(stage, "stands_for", stage)


passages = Passages
