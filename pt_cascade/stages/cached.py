"""A re-ranker whose scores are cached on the disk: no pair is scored twice, even in another run or after a crash."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import as_tuple
from pt_cascade.cascade.columns import check_input
from pt_cascade.cascade.known import look_up
from pt_cascade.errors import PipelineError
from pt_cascade.numbers import is_word
from pt_cascade.ranking import rescore
from pt_cascade.stages.base.identity import can_identify, hash_identity, identify_any
from pt_cascade.stages.base.pairwise import PairReranker
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.base.wrapper import Wrapper
from pt_cascade.stages.scorecache.fill import CacheFill, compare_cached
from pt_cascade.stages.scorecache.keys import list_keys, point_keys
from pt_cascade.stages.scorecache.score_cache import ScoreCache, find_path

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import pandas as pd

    from pt_cascade.cascade.stage import Depends
    from pt_cascade.ranking import Ints
    from pt_cascade.stages.base.identity import Identity

BATCH_SIZE = 512
_DEPENDS = ("pointwise", "pairwise", "listwise")


@dataclass(frozen=True)
class Cached(Wrapper):
    """Cache the scores of a re-ranker in an SQLite file: known scores are read, the others are computed in batches and written.

    Cached scores are returned bit for bit, as float64, with the stage's order of a query's rows and its tie rule (both are found
    out from its answers). New scores are computed in batches, so they are as near to the stage's scores of the whole frame
    as the stage is batch-invariant: within 1e-5 in fp32, the same bits where a score does not depend on its batch.
    ``Cascade.of`` reads a cached stage as the stage itself, and ``profile`` times the stage itself.

    A score is found by what it depends on: the stage's identity, the text of the query and the text of the document (for a stage
    that reads stored vectors, the docno). So two topics with one text share a score, and so do two documents. The scores of a
    ``listwise`` stage are cached by list: the query and its documents in order, with their ranks. A pairwise stage of this package
    (``duo_t5``) caches each comparison of two documents; another ``pairwise`` stage its lists.

    The stages of this package know their identity: class, weights, prompt, dtype, limits; below fp32 also the kind of device and
    the budget of a batch. Another stage may have a method ``identify()``; otherwise pass ``identity``, and change it when the model
    or a setting changes. Of such a stage every column of its input counts but qid, and for ``pointwise`` score and rank.

    A file holds the scores of one stage; another stage, or another state of its model, is refused. Processes and threads may share
    a file: two that score a pair at the same time both return their own score, and the first one stays. A score that is not finite
    and a lost document are errors, and nothing of their batch is written. A killed process loses at most its current batch. Every
    row of the file has a checksum.

    Rows that the stage marks as failed, in a column that its attribute ``failed_column`` names, are not cached; they rank below the
    rest of their query in the order they had. Of a listwise stage the whole list is not cached. The columns in the stage's
    ``accounts`` (calls, tokens, dollars) count this call only: 0 for what was read. Other columns that the stage adds are dropped.

    Args:
        stage: A re-ranker.
        path: The file; the first score creates it. ``~`` is your home; a relative path is resolved now.
        identity: What tells the scorer from any other, in your words: the model, its version, the settings. Needed for a stage
            without a method ``identify()``; otherwise it counts as well.
        reads: The columns that, with the query, tell a score; None: what the stage says, else the columns of its input as above.
        depends: What a score depends on: ``pointwise`` (query and document), ``pairwise`` or ``listwise``; ``unknown``: what the
            stage says.
        batch_size: Rows, or comparisons, that are scored and written together, 1 or more; lists are not split. A GPU wants more,
            e.g. 8192; a language model fewer, e.g. 32.

    Returns:
        A transformer from Frame[qid, query, docno, ...] to the same rows with score and rank.

    Raises:
        PipelineError: The stage is not a re-ranker, or its identity or depends is unknown.
        ScoreCacheError: The file is not a score cache, or of another stage.

    Example:
        >>> path = getfixture("tmp_path") / "length.sqlite"
        >>> length = cached(pt.apply.doc_score(lambda row: len(row["text"])), path, identity="len(text) v1", depends="pointwise")
        >>> import pandas as pd
        >>> found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "text": ["lion", "tiger"]})
        >>> length.transform(found)["score"].tolist(), length.score_cache().count()
        ([4.0, 5.0], 2)
    """

    schematic: ClassVar[dict[str, str | None]] = {"label": "Score cache", "help_url": None}
    documents: ClassVar[str] = "reranks"

    stage: pt.Transformer
    path: str | os.PathLike[str]
    _: KW_ONLY
    identity: str | None = None
    reads: Sequence[str] | None = None
    depends: Depends = "unknown"
    batch_size: int = BATCH_SIZE

    def __post_init__(self) -> None:
        """Make the path absolute, ask the stage what its scores depend on, and refuse what cannot be cached."""
        known = look_up(self.stage) if isinstance(self.stage, pt.Transformer) else None
        if known and is_word(self.depends, ("unknown",)):
            object.__setattr__(self, "depends", known.depends)
        _check(self, known.documents if known else "")
        object.__setattr__(self, "path", find_path(self.path))
        if self.reads is not None:
            object.__setattr__(self, "reads", as_tuple(self.reads))
        self.score_cache().notes()  # refuses the file of another stage

    @property
    def stands_for(self) -> pt.Transformer:
        """The stage whose scores are cached, to inspect or time it."""
        return self.stage

    @property
    def count_pairs(self) -> Callable[[pd.DataFrame], Ints] | None:
        """The stage's method that counts the pairs that it scores for each row; None if it scores each row once."""
        return getattr(self.stage, "count_pairs", None)

    def identify(self) -> Identity:
        """Identify all that its scores depend on beside the query and the document, as text by name."""
        return identify_any(self.stage, self.identity)

    def score_cache(self) -> ScoreCache:
        """Give the cached scores of the stage as it is now.

        Returns:
            The cache, whose ``count()`` and ``size()`` tell what is there.

        Raises:
            CascadeError: The identity of the stage is unknown.
        """
        return ScoreCache(str(self.path), self.identify())

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Give every row its score and its rank.

        Args:
            inp: Frame[qid, query, docno, ...] with what the stage needs.

        Returns:
            The rows that the stage itself would return.

        Raises:
            StageError: The stage failed, or its answer cannot be cached.
            ScoreCacheError: The file cannot be read or written.
        """
        if not len(inp):
            nothing: pd.DataFrame = self.stage.transform(inp)
            return nothing[[column for column in nothing.columns if self._is_given(column, list(inp.columns))]]
        reads, cache = self._find_reads(inp), self.score_cache()
        if isinstance(self.stage, PairReranker) and self.depends == "pairwise":
            compare = partial(compare_cached, self.stage, cache, reads, self.batch_size)
            return rescore(inp, self.stage.score_by(compare, inp))
        make = point_keys if self.depends == "pointwise" else list_keys
        keys = make(inp, reads, hash_identity(cache.identity))
        return CacheFill(self.stage, self.stage_name, cache, inp, keys, self.depends != "pointwise", self.batch_size).answer()

    def _find_reads(self, inp: pd.DataFrame) -> list[str]:
        """Check the columns of a frame, and list those that tell a document."""
        ours = isinstance(self.stage, Reranker)
        needs = self.stage.needs() if ours else []
        check_input(self, inp, ["query", *needs, *(self.reads or ())], ["query", *(needs if ours else ["text"])])
        ignored = ("qid", "query", "score", "rank") if self.depends == "pointwise" else ("qid",)
        reads = self.reads or (ours and self.stage.reads()) or [column for column in inp.columns if column not in ignored]
        return [column for column in reads if column in inp]

    def transform_inputs(self) -> list[list[str]]:
        """Return the input columns of the stage, for PyTerrier's inspection.

        Returns:
            The columns that the stage needs, one list a way to call it.
        """
        return list(pt.inspect.transformer_inputs(self.stage))

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Return the output columns of the stage without the dropped ones, for PyTerrier's inspection.

        Args:
            input_columns: The columns of the input.

        Returns:
            The columns of the output.
        """
        columns = pt.inspect.transformer_outputs(self.stage, input_columns)
        return [column for column in columns if self._is_given(column, input_columns)]

    def _is_given(self, column: str, columns: list[str]) -> bool:
        return column in (*columns, "score", "rank", self.failed_column, *self.accounts)


def _check(made: Cached, documents: str) -> None:
    """Refuse a stage whose scores cannot be cached, all reasons at once."""
    stage, what, problems = made.stage, "the scores of a stage cannot be cached", []
    if not isinstance(stage, pt.Transformer) or isinstance(stage, Cached):
        found = "has cached scores already" if isinstance(stage, Cached) else "is not a PyTerrier transformer"
        raise PipelineError(
            what, [f"{stage!r:.60} ({type(stage).__name__}) {found}"], fix="cached(stage, path), of a re-ranker itself"
        )
    if documents != "reranks":
        problems.append(f"{stage!r} ({type(stage).__name__}) is not a re-ranker: it may add or remove documents")
    elif not is_word(made.depends, _DEPENDS):
        problems.append(f"depends is {made.depends!r}, expected one of {', '.join(_DEPENDS)}")
    if made.identity is not None and not (isinstance(made.identity, str) and made.identity.strip()):
        problems.append(f"identity is {made.identity!r}, expected text")
    elif made.identity is None and not can_identify(stage):
        problems.append("it has no method identify(), so its model, version and settings are unknown")
    if made.reads is not None and not all(isinstance(name, str) for name in as_tuple(made.reads)):
        problems.append(f"reads is {made.reads!r:.60}, expected names of columns, or None")
    if type(made.batch_size) is not int or made.batch_size < 1:
        problems.append(f"batch_size is {made.batch_size!r}, expected 1 or more rows")
    if problems:
        words = "" if can_identify(stage) else ", identity='its model, version and settings'"
        fix = f"cached(stage, path{words}, depends='pointwise'), if a score depends on query and document alone"
        raise PipelineError(what, problems, fix=fix)


cached = Cached
