"""A cascade: a pipeline seen as stages and cut-offs, and back."""

from __future__ import annotations

import operator
import warnings
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, SupportsIndex

import pandas as pd
import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import check_cutoff
from pt_cascade.cascade.reading import read
from pt_cascade.cascade.steps import call, walk
from pt_cascade.errors import CascadeWarning, PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.cascade.stage import Depends, Documents, Stage


@dataclass(frozen=True, repr=False)
class Cascade(pt.Transformer):  # type: ignore[misc]
    """Rankers from cheap to expensive, each seeing only what the one before it passed on.

    It is itself a PyTerrier transformer: it ranks as its plain pipeline does, and checks each stage's frame on the way.

    Attributes:
        stages: The stages in order, at least one, names unique.
        ending: What runs after the last cut-off without ranking, e.g. a text loader; usually nothing.
        cutoffs_read: The cut-offs of the pipeline that it was read from, and what each was then.

    Raises:
        PipelineError: There is no stage, or two have one name.

    Example:
        >>> import pandas as pd, pyterrier as pt
        >>> run = pd.DataFrame({"qid": ["1"], "query": ["q"], "docno": ["d"], "score": [1.0], "rank": [0]})
        >>> pipeline = pt.Transformer.from_df(run) % 1000 >> pt.apply.doc_score(lambda row: 1.0) % 20
        >>> cascade = Cascade.of(pipeline)
        >>> cascade
        run → 1000 · doc_score → 20
        >>> cascade.with_cutoffs(100, 10).pipeline()[1]
        RankCutoff(100)
    """

    stages: tuple[Stage, ...]
    ending: tuple[pt.Transformer, ...] = ()
    cutoffs_read: tuple[tuple[pt.RankCutoff, int], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Refuse what is not a cascade; warn of a cut-off that cannot cut."""
        object.__setattr__(self, "stages", tuple(self.stages))
        object.__setattr__(self, "ending", tuple(self.ending))
        names = [stage.name for stage in self.stages]
        if not names:
            raise PipelineError("a cascade needs at least one stage", fix="Cascade.of(retriever % 1000 >> reranker % 20)")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PipelineError("stage names stand more than once", [", ".join(twice)], fix="give each Stage its own name")
        for before, after in pairwise(self.stages):
            if after.documents == "reranks" and before.cutoff and after.cutoff and after.cutoff > before.cutoff:
                message = f"{after!r} cannot cut: {before!r} before it passes on at most {before.cutoff} documents"
                warnings.warn(message, CascadeWarning, stacklevel=3)

    @classmethod
    def of(cls, pipeline: pt.Transformer) -> Cascade:
        """Read any PyTerrier pipeline into its stages and cut-offs.

        Text loaders and query rewriters ride with the scorer they prepare for; what adjusts a score rides with the scorer before.
        Read a pipeline before you ``compile()`` it: compiling fuses cut-offs into retrievers.

        Args:
            pipeline: Transformers composed with ``>>`` and ``%``, nested and third-party ones included.

        Returns:
            The cascade; ``Cascade.of(pipeline).pipeline()`` ranks as ``pipeline``.

        Raises:
            PipelineError: It has no scorer, or a transformer that PyTerrier cannot inspect; or a cut-off changed since it was read.
        """
        if not isinstance(pipeline, pt.Transformer):
            found = f"{pipeline!r} ({type(pipeline).__name__}), expected a PyTerrier transformer"
            raise PipelineError("this is not a pipeline", [found], fix="Cascade.of(retriever % 1000 >> reranker % 20)")
        cutoffs: list[tuple[pt.RankCutoff, int]] = []
        cascade = pipeline if isinstance(pipeline, Cascade) else cls(*read(list(_flatten(pipeline, cutoffs))), tuple(cutoffs))
        if changed := [f"{cutoff!r} was {k}" for cutoff, k in cascade.cutoffs_read if cutoff.k != k]:
            fix = "GridScan over pipeline, or without GridScan: ptc.sweep, Cascade.of(pipeline).with_cutoffs(50)"
            raise PipelineError("a cut-off changed after the pipeline was read with Cascade.of(pipeline)", changed, fix=fix)
        return cascade

    @property
    def cutoffs(self) -> tuple[int | None, ...]:
        """The cut-off of each stage; None where a stage passes everything on."""
        return tuple(stage.cutoff for stage in self.stages)

    def with_cutoffs(self, *cutoffs: SupportsIndex | None, **by_name: SupportsIndex | None) -> Cascade:
        """Return the cascade with other cut-offs.

        Args:
            *cutoffs: For the first stages, in order; the remaining stages keep theirs. Each 1 or more, or None for no cut.
            **by_name: The same by the name of the stage: ``with_cutoffs(bm25=500)``.

        Raises:
            PipelineError: A cut-off is not a whole number of 1 or more, there are more than stages, or a name is unknown.
        """
        if len(cutoffs) > len(self):
            raise PipelineError(f"{len(cutoffs)} cut-offs for {len(self)} stage(s)", [repr(self)])
        new = dict(zip((stage.name for stage in self.stages), cutoffs, strict=False))
        for name, cutoff in by_name.items():
            new[self.stages[self.position(name)].name] = cutoff
        checked = {name: check_cutoff(cutoff, name) for name, cutoff in new.items()}
        stages = (replace(stage, cutoff=checked.get(stage.name, stage.cutoff)) for stage in self.stages)
        return replace(self, stages=tuple(stages))

    def with_stage(
        self, stage: str | SupportsIndex, *, name: str = "", depends: Depends | None = None, documents: Documents | None = None
    ) -> Cascade:
        """Return the cascade with what you know of a stage: its name, what its scores depend on, what it does to the documents.

        Args:
            stage: Its name or position.
            name: Its new name; empty: as it was.
            depends: ``pointwise``, ``pairwise``, ``listwise`` or ``unknown``; None: as it was.
            documents: ``retrieves``, ``reranks`` or ``any``; None: as it was.

        Raises:
            PipelineError: There is no such stage, or a value is none of these.
        """
        n = self.position(stage)
        old = self.stages[n]
        told = replace(old, name=name or old.name, depends=depends or old.depends, documents=documents or old.documents)
        return replace(self, stages=(*self.stages[:n], told, *self.stages[n + 1 :]))

    def prefix(self, n: int) -> Cascade:
        """Return the cascade of the first n stages.

        Args:
            n: 1 to the number of stages.

        Raises:
            PipelineError: n is outside that range.
        """
        if not 1 <= n <= len(self):
            raise PipelineError(f"{self!r} has no prefix of {n} stages", [f"expected 1 to {len(self)}"])
        return replace(self, stages=self.stages[:n], ending=())

    def without(self, stage: str | SupportsIndex) -> Cascade:
        """Return the cascade without one of its stages.

        Args:
            stage: Its name or position.

        Raises:
            PipelineError: There is no such stage, or it is the only one.
        """
        n = self.position(stage)
        return replace(self, stages=self.stages[:n] + self.stages[n + 1 :])

    def pipeline(self) -> pt.Transformer:
        """Return the cascade as a plain PyTerrier pipeline, which knows nothing of pt_cascade."""
        cuts = (() if stage.cutoff is None else (pt.RankCutoff(stage.cutoff),) for stage in self.stages)
        stages = (stage.transformers for stage in self.stages)
        parts = [*chain.from_iterable(chain.from_iterable(zip(stages, cuts, strict=True))), *self.ending]
        return parts[0] if len(parts) == 1 else pt.Compose(*parts)

    def position(self, stage: str | SupportsIndex) -> int:
        """Return where a stage stands, from 0.

        Args:
            stage: Its name, or its position, which may count from the end.

        Raises:
            PipelineError: There is no such stage.
        """
        names = [one.name for one in self.stages]
        if isinstance(stage, str) and stage in names:
            return names.index(stage)
        if hasattr(stage, "__index__") and -len(names) <= operator.index(stage) < len(names):
            return operator.index(stage) % len(names)
        raise PipelineError(f"no stage {stage!r}", [f"this cascade has {', '.join(names)}"])

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank Frame[qid, query] or Frame[qid, query, docno, ...] as the plain pipeline does, and check every stage's frame."""
        kept = inp
        for step in walk(Cascade.of(self).stages, inp):
            kept = step.kept
        return self.end(kept)

    def end(self, results: pd.DataFrame) -> pd.DataFrame:
        """Return the last stage's Frame[qid, docno, score, rank, ...] with what the ending adds."""
        for part in self.ending:
            results = call(part, results, "the ending")
        return results

    def subtransformers(self) -> dict[str, list[pt.Transformer]]:
        """Show PyTerrier's inspection the transformers of all stages."""
        return {"transformers": [*chain.from_iterable(stage.transformers for stage in self.stages), *self.ending]}

    def transform_inputs(self) -> list[list[str]]:
        """Answer PyTerrier's inspection as the plain pipeline would."""
        return list(pt.inspect.transformer_inputs(self.pipeline()))

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Answer PyTerrier's inspection as the plain pipeline would."""
        return list(pt.inspect.transformer_outputs(self.pipeline(), input_columns))

    def schematic(self, *, input_columns: list[str]) -> dict[str, object]:
        """Draw as the plain pipeline."""
        return dict(pt.schematic.transformer_schematic(self.pipeline(), input_columns=input_columns))

    def describe(self) -> pd.DataFrame:
        """Return what is known of each stage: Frame[stage, cutoff, depends, documents, transformers], one row a stage."""
        rows = [
            (
                stage.name,
                "" if stage.cutoff is None else str(stage.cutoff),
                stage.depends,
                stage.documents,
                " >> ".join(map(repr, stage.transformers)),
            )
            for stage in self.stages
        ]
        return pd.DataFrame(rows, columns=["stage", "cutoff", "depends", "documents", "transformers"])

    def _repr_html_(self) -> str:
        """Show the stages in a notebook; PyTerrier's own drawing would need the network."""
        return str(self.describe().to_html(index=False))

    def __contains__(self, stage: object) -> bool:
        return stage in self.stages or stage in [one.name for one in self.stages]

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, stage: str | SupportsIndex) -> Stage:
        return self.stages[self.position(stage)]

    def __repr__(self) -> str:
        return " · ".join(map(repr, self.stages))


def _flatten(pipeline: pt.Transformer, cutoffs: list[tuple[pt.RankCutoff, int]]) -> Iterator[pt.Transformer | Stage]:
    """Lay nested pipelines and cascades out in a row, and note the cut-offs that are read, here or before."""
    if isinstance(pipeline, Cascade):
        cutoffs += pipeline.cutoffs_read
        yield from (*pipeline.stages, *pipeline.ending)
    elif isinstance(pipeline, pt.Compose):
        for part in pipeline:
            yield from _flatten(part, cutoffs)
    else:
        if isinstance(pipeline, pt.RankCutoff):
            cutoffs.append((pipeline, pipeline.k))
        yield pipeline
