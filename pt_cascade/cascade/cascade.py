"""A cascade: the stages and cut-offs of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, SupportsIndex

import pyterrier as pt

from pt_cascade.analysis.fusion.fuse import K, Method
from pt_cascade.analysis.fusion.stage_fusion import make_fusion, rename_stages
from pt_cascade.analysis.grid.cutoffs import Cutoff, Tail, as_tuple, check_cutoffs
from pt_cascade.cascade.fusing import check_fusion, describe_stages, list_stages, show_stages
from pt_cascade.cascade.reading import compose, read, refuse_changes
from pt_cascade.cascade.stage import Stage, check_stages, declare, find_position, set_cutoffs, set_options, take_first
from pt_cascade.cascade.steps import run_ending, run_steps
from pt_cascade.markup import Shown, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from pt_cascade.analysis.fusion.normalization import Normalise
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion, Weights
    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.cascade.stage import Depends, Documents, OnError


@dataclass(frozen=True, repr=False)
class Cascade(Shown, pt.Transformer):  # type: ignore[misc]
    """Rankers from cheap to expensive, each of which re-ranks only what the one before it passes on.

    It is a PyTerrier transformer: it ranks as the plain pipeline does, and checks the results of each stage.

    Attributes:
        stages: The stages in order, at least one, with unique names.
        ending: What follows the last cut-off without ranking, e.g. a text loader; usually empty.
        fusion: What ranks the documents of the last stage by the scores of several stages, see ``fused``; None: the last stage.
        cutoffs_read: The cut-offs of the pipeline that it was read from, each with its k at that time.
        tail: What becomes of the documents that the cut-offs remove, see ``options``.

    Raises:
        PipelineError: There is no stage, or two stages have the same name.

    Example:
        >>> import pandas as pd, pyterrier as pt
        >>> run = pd.DataFrame({"qid": ["1"], "query": ["q"], "docno": ["d"], "score": [1.0], "rank": [0]})
        >>> pipeline = pt.Transformer.from_df(run) % 1000 >> pt.apply.doc_score(lambda row: 1.0) % 20
        >>> Cascade.of(pipeline).with_cutoffs(100, 10)
        run → 100 · doc_score → 10
    """

    stages: tuple[Stage, ...]
    ending: tuple[pt.Transformer, ...] = ()
    fusion: StageFusion | None = None
    cutoffs_read: tuple[tuple[pt.RankCutoff, int], ...] = field(default=(), compare=False)
    tail: Tail = "drop"

    def __post_init__(self) -> None:
        """Check the names; warn of a cut-off that is larger than the one before it."""
        object.__setattr__(self, "stages", as_tuple(self.stages))
        object.__setattr__(self, "ending", tuple(self.ending))
        check_stages(self.stages, self.tail)
        object.__setattr__(self, "fusion", check_fusion(self.fusion, self.stages))

    @classmethod
    def of(cls, pipeline: pt.Transformer) -> Cascade:
        """Read any PyTerrier pipeline into stages and cut-offs.

        Text loaders and query rewriters belong to the stage of the next scorer; what adjusts scores belongs to the stage before.
        Read a pipeline before ``compile()``, which fuses cut-offs into retrievers.

        Args:
            pipeline: Transformers composed with ``>>`` and ``%``, nested and third-party ones included.

        Returns:
            The cascade; ``Cascade.of(pipeline).pipeline()`` ranks as ``pipeline`` does.

        Raises:
            PipelineError: No transformer creates a score, one cannot be inspected, or a cut-off has changed since it was read.
        """
        cascade = pipeline if isinstance(pipeline, Cascade) else cls(*read(pipeline))
        refuse_changes(cascade.cutoffs_read)
        return cascade

    @property
    def cutoffs(self) -> tuple[int | None, ...]:
        """The cut-off of each stage; None where there is none."""
        return tuple(stage.cutoff for stage in self.stages)

    def with_cutoffs(self, *cutoffs: SupportsIndex | None, **by_name: SupportsIndex | None) -> Cascade:
        """Return the cascade with other cut-offs.

        Args:
            *cutoffs: For the first stages, in order; the others keep theirs. Each 1 or more, or None for no cut.
            **by_name: By stage name: ``with_cutoffs(bm25=500)``.

        Raises:
            PipelineError: A cut-off is not a whole number of 1 or more, there are more than stages, or a name is unknown.
        """
        return replace(self, stages=set_cutoffs(self.stages, cutoffs, by_name))

    def with_stage(
        self, stage: str | SupportsIndex, *, name: str = "", depends: Depends | None = None, documents: Documents | None = None
    ) -> Cascade:
        """Return the cascade with another declaration of one stage.

        Args:
            stage: Its name or position.
            name: Its new name; empty: unchanged.
            depends: ``pointwise``, ``pairwise``, ``listwise`` or ``unknown``; None: unchanged.
            documents: ``retrieves``, ``reranks`` or ``any``; None: unchanged.

        Raises:
            PipelineError: There is no such stage, or a value is not one of these.
        """
        stages = declare(self.stages, self.position(stage), name, depends, documents)
        names = {old.name: new.name for old, new in zip(self, stages, strict=True)}
        return replace(self, stages=stages, fusion=rename_stages(self.fusion, names))

    def fused(self, weights: Weights, *, method: Method = "weighted", normalise: Normalise = "min-max", k: float = K) -> Cascade:
        """Return the cascade with another last step: what the last stage scores is ranked by the fused scores of several stages.

        The last cut-off comes after the fusion.

        Args:
            weights: Stage name → weight, 0 or more; only their proportions matter. None: no fusion. Or a StageFusion.
            method: ``weighted`` or ``rrf``, as for ``fuse``.
            normalise: As for ``fuse``.
            k: As for ``fuse``.

        Raises:
            CascadeError: There is one stage, a name is not of a stage, or a weight or option is not one of these.

        Example:
            >>> import pandas as pd, pyterrier as pt
            >>> run = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
            >>> pipeline = pt.Transformer.from_df(run) % 2 >> pt.apply.doc_score(lambda row: row["rank"]) % 1
            >>> Cascade.of(pipeline).fused({"run": 3, "doc_score": 1})
            run → 2 · doc_score · fused(run=0.75, doc_score=0.25) → 1
            >>> _.transform(run[["qid", "query"]].head(1))[["docno", "score"]].to_numpy().tolist()
            [['a', 0.75]]
        """
        return replace(self, fusion=make_fusion(weights, method, normalise, k))

    def options(
        self,
        *,
        tail: Tail | None = None,
        on_error: OnError | Mapping[str, OnError] | None = None,
        time_limit_ms: Mapping[str, float | None] | None = None,
    ) -> Cascade:
        """Return the cascade with other options, which all that runs it obeys; ``pipeline()`` has none.

        Args:
            tail: ``drop``: removed documents are dropped, as with PyTerrier's ``%``; ``keep``: they follow below the ranking, those
                of the last cut-off first, in their old order; ``cut_by`` names the stage. None: unchanged.
            on_error: ``raise``; or ``keep``: a query on which a stage raises keeps the order before that stage, which is called
                query by query. By stage name, or one for all stages that re-rank.
            time_limit_ms: Milliseconds a query, by stage name; None: no limit. The stage scores a query's documents in batches, the
                best first, at least one, until the time is over; the others follow below, in their old order.

        Raises:
            PipelineError: A stage is unknown or cannot have the option, or a value is not one of these.

        Example:
            >>> import pandas as pd, pyterrier as pt
            >>> run = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
            >>> cascade = Cascade.of(pt.Transformer.from_df(run) % 1).options(tail="keep")
            >>> cascade.transform(run[["qid", "query"]].head(1))[["docno", "cut_by"]].to_numpy().tolist()
            [['a', ''], ['b', 'run']]
        """
        return replace(self, stages=set_options(self.stages, on_error, time_limit_ms), tail=self.tail if tail is None else tail)

    def prefix(self, n: int) -> Cascade:
        """Return the cascade of the first n stages, 1 to all of them, without a fusion."""
        return replace(self, stages=take_first(self.stages, n), ending=(), fusion=None)

    def without(self, stage: str | SupportsIndex) -> Cascade:
        """Return the cascade without one of its stages, by name or position, and without its weight; not without the only one."""
        n = self.position(stage)
        left = self.stages[:n] + self.stages[n + 1 :]
        return replace(self, stages=left, fusion=rename_stages(self.fusion, {one.name: one.name for one in left}))

    def pipeline(self) -> pt.Transformer:
        """Return the cascade as a plain PyTerrier pipeline, without its options."""
        return compose(self.stages, self.ending, self.fusion)

    def position(self, stage: str | SupportsIndex) -> int:
        """Return the position from 0 of a stage, by its name or a position that may count from the end, or a PipelineError."""
        return find_position(self.stages, stage)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank Frame[qid, query, ...] or Frame[qid, docno, ...] as the plain pipeline does; check each stage; obey ``options``."""
        return run_ending(self.ending, run_steps(Cascade.of(self).stages, inp, self.tail, fusion=self.fusion))

    def finish(self, table: Scores, cutoffs: Sequence[Cutoff] | None = None, *, topics: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the live cascade's ranking, with the stages replayed from a score table; a last stage that it lacks is run.

        Loaders of texts and vectors run again for that stage and the ending. Scores are float64, also where a stage gave float32.

        Args:
            table: The scores of all stages, or of all but the last.
            cutoffs: One a stage, each 1 or more, or None for no cut; default: the cascade's own.
            topics: What the cascade starts from, where it needs more than qid and query.

        Raises:
            TableError: The table lacks a stage or does not cover the cut-offs, or a loader depends on the scores or rows before it.

        Example:
            >>> import pandas as pd, pyterrier as pt, pt_cascade as ptc
            >>> run = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
            >>> cascade = Cascade.of(pt.Transformer.from_df(run) % 2 >> pt.apply.doc_score(lambda row: ord(row["docno"])) % 1)
            >>> cascade.finish(ptc.score(cascade, run[["qid", "query"]].head(1)))["docno"].tolist()
            ['b']
        """
        from pt_cascade.cascade.finishing import finish_stages  # noqa: PLC0415 - numba loads when first needed

        whole = self if cutoffs is None else self.with_cutoffs(*check_cutoffs(cutoffs, [stage.name for stage in self]))
        return finish_stages(whole.stages, whole.ending, table, topics, tail=self.tail, fusion=self.fusion)

    def subtransformers(self) -> dict[str, list[pt.Transformer]]:
        """Return the transformers of all stages, for PyTerrier's inspection."""
        return {"transformers": [*(part for stage in self for part in stage.transformers), *self.ending]}

    def transform_inputs(self) -> list[list[str]]:
        """Return the input columns of the plain pipeline."""
        return list(pt.inspect.transformer_inputs(self.pipeline()))

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Return the output columns of the plain pipeline, and ``cut_by`` with a kept tail."""
        return [*pt.inspect.transformer_outputs(self.pipeline(), input_columns), *(["cut_by"] if self.tail == "keep" else [])]

    def schematic(self, *, input_columns: list[str]) -> dict[str, object]:
        """Return the schematic of the plain pipeline."""
        return dict(pt.schematic.transformer_schematic(self.pipeline(), input_columns=input_columns))

    def describe(self) -> pd.DataFrame:
        """Return Frame[stage, cutoff, depends, documents, transformers], one row a stage, and one for a fusion."""
        return describe_stages(self.stages, self.fusion)

    def tabulate(self) -> Table:
        """Return stages, cut-offs and options, for a notebook, where PyTerrier's schematic would need the network, or a paper."""
        return Table(list_stages(self.stages, self.fusion), f"The stages; tail: {self.tail}")

    def __contains__(self, stage: object) -> bool:
        return any(stage is one or (isinstance(stage, Stage | str) and stage in (one, one.name)) for one in self.stages)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, stage: str | SupportsIndex) -> Stage:
        return self.stages[self.position(stage)]

    def __repr__(self) -> str:
        return show_stages(self.stages, self.fusion)
