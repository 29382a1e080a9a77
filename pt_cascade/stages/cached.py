"""A re-ranker whose scores are kept on the disk: no pair is scored twice, not by another run, not after a crash."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, get_args

import pyterrier as pt

from pt_cascade.cascade.known import look_up
from pt_cascade.errors import PipelineError
from pt_cascade.frames import check_text
from pt_cascade.stages.asking import Asking
from pt_cascade.stages.identity import hash_identity, identify_any
from pt_cascade.stages.keys import list_keys, pair_keys
from pt_cascade.stages.reranker import Reranker
from pt_cascade.stages.store import ScoreStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from pt_cascade.stages.keys import Keys

Depends: TypeAlias = Literal["point", "pair", "list"]

BATCH_SIZE = 512


def cached(
    stage: pt.Transformer,
    path: str | os.PathLike[str],
    *,
    depends: Depends | None = None,
    reads: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Cached:
    """Keep the scores of a re-ranker: what is kept is read, only the rest is asked for, and each micro-batch is kept at once.

    ``cached(stage, path).transform(x)`` equals ``stage.transform(x)``: rows, order, ties and scores bit for bit, whether all, some
    or none of them were kept. ``Cascade.of`` reads it as the stage itself, and ``profile`` times the stage itself, live.

    A score is kept under what it depends on: the stage's identity (class, weights, prompt, precision, limits: ``identify()``), the
    text of the query, and the text of the document; so two topics with one text share a score, and so do two documents. Where a
    stage reads stored vectors, the docno tells the document. A score that depends on the list (``pair``, ``list``) is kept with
    all the scores of its query, whole, under the query, the documents in order and their ranks. A stage that is not of ours is
    told by its class and settings, see ``fingerprint``, unless it has a method ``identify()`` that gives words by name.

    A path holds the scores of one stage; another stage there, or another state of the model, is refused. Several processes and
    threads may use one path at once: they may score a pair twice, and the first score stays. A score that is not finite is an
    error, and so is a lost document; nothing of that micro-batch is kept. Where the stage says that a query failed
    (``failed_column``), its new scores are given but not kept; if others of the query were kept before, the whole query keeps its
    order and is marked as failed. Other columns that the stage adds are dropped, always: kept answers would not have them. Columns
    that were given stay as they were given.

    Args:
        stage: A stage of ours, or any re-ranker.
        path: The file; made when the first score is kept.
        depends: What a score depends on, where the stage does not say: ``point`` (query, document), ``pair`` or ``list``.
        reads: The columns that, with the query, tell a score; without: what the stage says, else text and docno.
        batch_size: Rows that are scored and kept together, 1 or more; of pair and list stages whole queries, until there are as
            many. A killed process loses at most these. A GPU wants more, e.g. 8192; a language model fewer, e.g. 32.

    Returns:
        A transformer from Frame[qid, query, docno, ...] to the same rows with score and rank.

    Raises:
        PipelineError: The stage is no re-ranker, or nobody knows what its scores depend on.
        StoreError: The path holds something else, or scores of another stage.

    Example:
        >>> path = getfixture("tmp_path") / "length.sqlite"
        >>> length = cached(pt.apply.doc_score(lambda row: len(row["text"])), path, depends="point")
        >>> import pandas as pd
        >>> found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "text": ["lion", "tiger"]})
        >>> length.transform(found)["score"].tolist(), length.store().count()
        ([4.0, 5.0], 2)
    """
    known = look_up(stage) if isinstance(stage, pt.Transformer) else None
    _check(stage, known.documents if known else "", depends or (known.depends if known else ""), batch_size)
    told = depends or known.depends  # type: ignore[union-attr] # checked
    kept = Cached(stage, os.fspath(path), told, None if reads is None else tuple(reads), batch_size)
    if Path(kept.path).exists():
        kept.store().notes()
    return kept


@dataclass(frozen=True)
class Cached(pt.Transformer):  # type: ignore[misc]
    """The stage that ``cached`` makes.

    Attributes:
        inner: Whose scores are kept.
        path: The file.
        depends: What a score depends on.
        reads: The columns that, with the query, tell a score; None: as in ``cached``.
        batch_size: Rows that are scored and kept together.
    """

    schematic: ClassVar[dict[str, str | None]] = {"label": "Kept scores", "help_url": None}

    inner: pt.Transformer
    path: str
    depends: Depends = "point"
    reads: tuple[str, ...] | None = None
    batch_size: int = BATCH_SIZE

    @property
    def stands_for(self) -> pt.Transformer:
        """Whose answers these are, for those who want to see or time the stage itself."""
        return self.inner

    @property
    def stage_name(self) -> str:
        """What a cascade calls it."""
        return look_up(self.inner).name

    @property
    def documents(self) -> str:
        """The documents that come out are those that went in."""
        return "same"

    @property
    def failed_column(self) -> str:
        """Where the stage marks what failed; empty: nowhere."""
        return str(getattr(self.inner, "failed_column", ""))

    def store(self) -> ScoreStore:
        """Give the kept scores of the stage as it is now.

        Raises:
            CascadeError: What the stage is cannot be told.
        """
        return ScoreStore(self.path, identify_any(self.inner))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Give every row its score and its rank, from the kept scores as far as they go.

        Args:
            inp: Frame[qid, query, docno, ...] with what the stage needs.

        Returns:
            The rows that the stage itself would return.

        Raises:
            StageError: See ``asking.Asking.answer``.
        """
        if not len(inp):
            nothing: pd.DataFrame = self.inner.transform(inp)
            return nothing[[column for column in nothing.columns if self._is_given(column, list(inp.columns))]]
        keys = self._keys(inp, store := self.store())
        return Asking(self.inner, self.stage_name, store, inp, keys, self.depends != "point", self.batch_size).answer()

    def _keys(self, inp: pd.DataFrame, store: ScoreStore) -> Keys:
        """Check what is read, and make the keys."""
        ours = isinstance(self.inner, Reranker)
        texts = ["query", *(self.inner.needs() if ours else ["text"])]
        needs = dict.fromkeys([*(texts if ours else ["query"]), *(self.reads or ())])
        pt.validate.result_frame(inp, extra_columns=list(needs), context=self)
        for column in dict.fromkeys(texts):
            check_text(inp, column, self.stage_name)
        reads = self.reads or (self.inner.reads() if ours else ("text", "docno"))
        make = pair_keys if self.depends == "point" else list_keys
        return make(inp, [column for column in reads if column in inp], hash_identity(store.identity))

    def transform_inputs(self) -> list[list[str]]:
        """Answer PyTerrier's inspection as the stage would."""
        return list(pt.inspect.transformer_inputs(self.inner))

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Answer PyTerrier's inspection as the stage would, without the columns that are not kept."""
        given = pt.inspect.transformer_outputs(self.inner, input_columns)
        return [column for column in given if self._is_given(column, input_columns)]

    def _is_given(self, column: str, columns: list[str]) -> bool:
        return column in (*columns, "score", "rank", self.failed_column)


def _check(stage: object, documents: str, depends: str, batch_size: int) -> None:
    """Refuse what cannot be kept, all reasons at once."""
    problems = []
    if not isinstance(stage, pt.Transformer):
        problems.append(f"{stage!r} ({type(stage).__name__}) is no PyTerrier transformer")
    elif isinstance(stage, Cached):
        problems.append(f"the scores of {stage!r} are kept already")
    elif documents != "same":
        problems.append(f"{stage!r} is no re-ranker: it may return other documents than it is given")
    elif depends not in get_args(Depends):
        problems.append(f"what its scores depend on is {depends}, expected one of {', '.join(get_args(Depends))}")
    if type(batch_size) is not int or batch_size < 1:
        problems.append(f"batch_size is {batch_size!r}, expected 1 or more rows")
    if problems:
        fix = "cached(stage, path, depends='point'), if a score depends on query and document alone"
        raise PipelineError("the scores of a stage cannot be kept", problems, fix=fix)
