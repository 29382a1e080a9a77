"""A re-ranker whose scores are kept on the disk: no pair is scored twice, not by another run, not after a crash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, get_args

import pyterrier as pt

from pt_cascade.cascade.known import look_up
from pt_cascade.errors import PipelineError
from pt_cascade.frames import check_text
from pt_cascade.stages.base.identity import can_identify, hash_identity, identify_any
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.scorecache.fill import Asking
from pt_cascade.stages.scorecache.keys import list_keys, pair_keys
from pt_cascade.stages.scorecache.sqlite_file import find_path
from pt_cascade.stages.scorecache.store import ScoreStore

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd

    from pt_cascade.stages.scorecache.keys import Keys

Depends: TypeAlias = Literal["pointwise", "pairwise", "listwise"]

BATCH_SIZE = 512


def cached(
    stage: pt.Transformer,
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    identity: str | None = None,
    reads: Sequence[str] | None = None,
    depends: Depends | None = None,
    batch_size: int = BATCH_SIZE,
) -> Cached:
    """Keep the scores of a re-ranker: what is kept is read, only the rest is asked for, and each micro-batch is kept at once.

    What was kept is given bit for bit as it was kept, with rows, order and ties as the stage itself returns them. What is new is
    scored in micro-batches, so it is as near to the stage's own scores of the whole frame as the stage is to itself in other
    batches: the same bits where a score does not depend on its batch at all; within 1e-5 of the size of the scores for a model in
    fp32; below that dtype, within its rounding. ``Cascade.of`` reads it as the stage itself, and ``profile`` times the stage
    itself, live.

    A score is kept under what it depends on: the stage's identity, the text of the query, and the text of the document; so two
    topics with one text share a score, and so do two documents. Where a stage of ours reads stored vectors, the docno tells the
    document. A score that depends on the list (``pairwise``, ``listwise``) is kept with all the scores of its query, under the
    documents in order, their ranks, and the query.

    A stage of ours says what it is (``identify()``: class, weights, prompt, dtype, limits; below fp32 also the kind of device
    and the budget of a batch, which then show in a score), and what it reads. Any other re-ranker, or a pipeline of several, may
    have such a method too; else you say what it is. Nothing is guessed: who trains the model on, or changes a setting, has to
    change ``identity``. Of such a stage every given column counts but qid, and for ``pointwise`` score and rank: a column that it
    does not read costs a question, never a wrong score.

    A path holds the scores of one stage; another stage there, or another state of the model, is refused. Several processes and
    threads may use one path at once: they may score a pair twice, and the first score stays. A score that is not finite is an
    error, and so is a lost document; nothing of that micro-batch is kept. A stage marks what failed by a column of truth values,
    whose name it gives as ``failed_column``. A marked row is not kept, and ranks below the rest of its query in the order it had;
    of a pair or list stage, nothing of its query is kept, and all is given as the stage gave it. Where the stage keeps accounts of
    calls, tokens and dollars (``accounts``), they say what was asked in this call: 0 for what was read. Other columns that the
    stage adds are dropped, always: kept answers would not have them. Columns that were given stay as they were given.

    Args:
        stage: A stage of ours, or any re-ranker.
        path: The file; made when the first score is kept. ``~`` is your home; a relative path is fixed now.
        identity: What tells the scorer from any other, in your words: the model, its version, the settings. Needed for a stage
            without a method ``identify()``; of any other it counts besides.
        reads: The columns that, with the query, tell a score; without: what the stage says, else every given column as above.
        depends: What a score depends on, where the stage does not say: ``pointwise`` (query and document), ``pairwise`` or
            ``listwise``.
        batch_size: Rows that are scored and kept together, 1 or more; of pair and list stages whole queries, until there are as
            many. A killed process loses at most these. A GPU wants more, e.g. 8192; a language model fewer, e.g. 32.

    Returns:
        A transformer from Frame[qid, query, docno, ...] to the same rows with score and rank.

    Raises:
        PipelineError: The stage is no re-ranker, or nobody knows what it is, or what its scores depend on.
        StoreError: The path holds something else, or scores of another stage.

    Example:
        >>> path = getfixture("tmp_path") / "length.sqlite"
        >>> length = cached(pt.apply.doc_score(lambda row: len(row["text"])), path, identity="len(text) v1", depends="pointwise")
        >>> import pandas as pd
        >>> found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "text": ["lion", "tiger"]})
        >>> length.transform(found)["score"].tolist(), length.store().count()
        ([4.0, 5.0], 2)
    """
    known = look_up(stage) if isinstance(stage, pt.Transformer) else None
    _check(stage, known.documents if known else "", depends or (known.depends if known else ""), batch_size, identity)
    told = depends or known.depends  # type: ignore[union-attr] # checked
    columns = reads if reads is None else (reads,) if isinstance(reads, str) else tuple(reads)
    kept = Cached(stage, find_path(path), told, columns, batch_size, identity)
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
        identity: What the stage is, in its user's words; None: as it says.
    """

    schematic: ClassVar[dict[str, str | None]] = {"label": "Kept scores", "help_url": None}

    inner: pt.Transformer
    path: str
    depends: Depends = "pointwise"
    reads: tuple[str, ...] | None = None
    batch_size: int = BATCH_SIZE
    identity: str | None = None

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
        return "reranks"

    @property
    def failed_column(self) -> str:
        """Where the stage marks what failed; empty: nowhere."""
        return str(getattr(self.inner, "failed_column", ""))

    @property
    def on_error(self) -> str:
        """What the stage does where it cannot score; empty: it does not say."""
        return str(getattr(self.inner, "on_error", ""))

    @property
    def accounts(self) -> tuple[str, ...]:
        """The columns in which the stage says, on each row, what its query took."""
        return tuple(getattr(self.inner, "accounts", ()))

    def store(self) -> ScoreStore:
        """Give the kept scores of the stage as it is now.

        Raises:
            CascadeError: What the stage is cannot be told.
        """
        return ScoreStore(self.path, identify_any(self.inner, self.identity))

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
        return Asking(self.inner, self.stage_name, store, inp, keys, self.depends != "pointwise", self.batch_size).answer()

    def _keys(self, inp: pd.DataFrame, store: ScoreStore) -> Keys:
        """Check what is read, and make the keys."""
        ours = isinstance(self.inner, Reranker)
        texts = ["query", *(self.inner.needs() if ours else ["text"])]
        needs = dict.fromkeys([*(texts if ours else ["query"]), *(self.reads or ())])
        pt.validate.result_frame(inp, extra_columns=list(needs), context=self)
        for column in dict.fromkeys(texts):
            check_text(inp, column, self.stage_name)
        ignored = ("qid", "query", "score", "rank") if self.depends == "pointwise" else ("qid",)
        reads = self.reads or (self.inner.reads() if ours else [column for column in inp.columns if column not in ignored])
        make = pair_keys if self.depends == "pointwise" else list_keys
        return make(inp, [column for column in reads if column in inp], hash_identity(store.identity))

    def transform_inputs(self) -> list[list[str]]:
        """Answer PyTerrier's inspection as the stage would."""
        return list(pt.inspect.transformer_inputs(self.inner))

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Answer PyTerrier's inspection as the stage would, without the columns that are not kept."""
        given = pt.inspect.transformer_outputs(self.inner, input_columns)
        return [column for column in given if self._is_given(column, input_columns)]

    def _is_given(self, column: str, columns: list[str]) -> bool:
        return column in (*columns, "score", "rank", self.failed_column, *self.accounts)


def _check(stage: object, documents: str, depends: str, batch_size: int, identity: str | None) -> None:
    """Refuse what cannot be kept, all reasons at once."""
    told = not isinstance(stage, pt.Transformer) or isinstance(stage, Cached) or can_identify(stage)
    words = isinstance(identity, str) and identity.strip()
    problems = []
    if not isinstance(stage, pt.Transformer):
        problems.append(f"{stage!r} ({type(stage).__name__}) is no PyTerrier transformer")
    elif isinstance(stage, Cached):
        problems.append(f"the scores of {stage!r} are kept already")
    elif documents != "reranks":
        problems.append(f"{stage!r} is no re-ranker: it may return other documents than it is given")
    elif depends not in get_args(Depends):
        problems.append(f"what its scores depend on is {depends}, expected one of {', '.join(get_args(Depends))}")
    if identity is not None and not words:
        problems.append(f"identity is {identity!r}, expected words")
    elif not (told or words):
        problems.append("it has no method identify(), so nobody knows of which model, version and settings its scores are")
    if type(batch_size) is not int or batch_size < 1:
        problems.append(f"batch_size is {batch_size!r}, expected 1 or more rows")
    if problems:
        say = "" if told else "identity='its model, version and settings', "
        fix = f"cached(stage, path, {say}depends='pointwise'), if a score depends on query and document alone"
        raise PipelineError("the scores of a stage cannot be kept", problems, fix=fix)
