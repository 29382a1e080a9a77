"""The base class of stages that run a Hugging Face model over query and document."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar

from pt_cascade.errors import PipelineError, naming, warn
from pt_cascade.numbers import count_of, is_several
from pt_cascade.progress import show_progress
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.inference.batching import CHUNK, score_chunks
from pt_cascade.stages.inference.loading import ModelSpec, find_model
from pt_cascade.stages.inference.options import check_dtype, check_limits, find_budget
from pt_cascade.stages.inference.t5 import check_answers, load_t5

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.inference.batching import Ids, NameRow, Rows
    from pt_cascade.stages.inference.classifiers import Classifier
    from pt_cascade.stages.inference.options import Dtype
    from pt_cascade.stages.inference.t5 import AnsweringT5

_SHOWN = 40  # letters of a query


def name_row(results: pd.DataFrame, row: int) -> str:
    """Name the query and the document of a row."""
    qid, docno = results[["qid", "docno"]].iloc[row]
    return f"qid {qid!r}, docno {docno!r}"


@dataclass(frozen=True, kw_only=True)
class TransformerReranker(Reranker):
    """A re-ranker of one model; its fields are the arguments that all such stages share, as ``cross_encoder`` explains them."""

    model: str | os.PathLike[str] = field(kw_only=False)
    text_field: str = "text"
    max_length: int | None = None
    batch_tokens: int | None = None
    device: str | None = None
    verbose: bool = False
    dtype: Dtype = "fp32"

    shortest: ClassVar[int] = 16  # tokens that leave room for a query and a document

    def __post_init__(self) -> None:
        """Find the model, and refuse invalid options, all at once."""
        with naming(self.stage_name):
            object.__setattr__(self, "model", find_model(self.model))
        problems = check_limits(self.max_length, self.shortest, self.batch_tokens) + check_dtype(self.dtype, self.device)
        if problems := problems + self.misfits():
            raise PipelineError(f"{self.stage_name} cannot be made", problems)

    def misfits(self) -> list[str]:
        """List what is wrong with the options of this stage alone."""
        return []

    @property
    @abstractmethod
    def _loaded(self) -> Classifier | AnsweringT5:
        """The model, loaded when first used."""

    @property
    def spec(self) -> ModelSpec:
        """The model to load."""
        return ModelSpec(str(self.model), self.device, self.verbose, self.dtype)

    def needs(self) -> list[str]:
        """Name the columns that are needed beside qid and docno."""
        return ["query", self.text_field]

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row, batch by batch, as ``Reranker.score`` says."""
        return self._run(self._encode(results), len(results), partial(name_row, results))

    def count_tokens(self, results: pd.DataFrame) -> list[int]:
        """Count the tokens that the model reads for each row: query and document together, after cutting; no padding."""
        return [len(ids) for chunk in self._encode(results) for ids in chunk["input_ids"]]

    def list_rows(self, results: pd.DataFrame) -> Rows:
        """Give prompt, query and text of each row."""
        queries, texts = results["query"].tolist(), results[self.text_field].tolist()
        return [("", query, text) for query, text in zip(queries, texts, strict=True)]

    def _encode(self, results: pd.DataFrame) -> Iterator[Ids]:
        """Tokenize the rows, some thousands at a time."""
        rows = self.list_rows(results)
        self._warn_of_long(self._loaded.find_full(rows))
        for start in range(0, len(rows), CHUNK):
            yield self._loaded.encode(rows[start : start + CHUNK])

    def _run(self, chunks: Iterable[Ids], count: int, name: NameRow) -> Floats:
        with show_progress(self.stage_name, "doc", count, shown=self.verbose) as bar:  # the model is loaded within
            budget = find_budget(self.batch_tokens, self._loaded.device)
            return score_chunks(self._loaded.forward, chunks, budget, name, bar.update)

    def _warn_of_long(self, full: Sequence[str]) -> None:
        if full:
            found = f"{self.stage_name}: all {self._loaded.limit} tokens are filled by {count_of(len(full), 'query')}"
            cure = "shorten them, or pass a larger max_length if the model has one"
            message = f"{found}, first {full[0][:_SHOWN]!r}, so the model reads little or nothing of their documents: {cure}"
            warn(message)


@dataclass(frozen=True, kw_only=True)
class T5Reranker(TransformerReranker):
    """A re-ranker whose model is a T5 or mT5 that answers with one of two words, as ``mono_t5`` explains its arguments."""

    max_length: int = 512
    tokenizer: str | os.PathLike[str] | None = None
    tokens: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        """Take a path and a list as the text and the tuple that a pickle, a hash and an identity need."""
        object.__setattr__(self, "tokenizer", None if self.tokenizer is None else str(self.tokenizer))
        object.__setattr__(
            self, "tokens", tuple(self.tokens) if self.tokens is not None and is_several(self.tokens) else self.tokens
        )
        super().__post_init__()

    def misfits(self) -> list[str]:
        """List what is wrong with the answers."""
        return check_answers(self.tokens)

    @cached_property
    def _loaded(self) -> AnsweringT5:
        return load_t5(self.spec, self.tokenizer, self.tokens, self.max_length)
