"""A PyTerrier pipeline read into stages: who creates a score, who prepares for it, who adjusts it, and where the cut-offs are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import pyterrier as pt

from pt_cascade.analysis.cutoffs import check_cutoff
from pt_cascade.cascade.known import Role, look_up
from pt_cascade.cascade.stage import Stage, unique_names
from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pt_cascade.cascade.known import Known
    from pt_cascade.cascade.stage import Depends, Documents

Columns: TypeAlias = "list[str]"

_TOPICS = ["qid", "query"]
_RESULTS = ["qid", "query", "docno", "score", "rank"]
_BY_HAND = 'Cascade((Stage("name", (transformer,), cutoff=100), ...))'


@dataclass
class _Draft:
    """A stage being read."""

    transformers: list[pt.Transformer] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    scorer: int = 0
    retrieves: bool = False
    trimmed: bool = False
    cutoff: int | None = None

    def add(self, transformer: pt.Transformer) -> None:
        self.transformers.append(transformer)
        self.known.append(look_up(transformer))

    def finish(self) -> Stage:
        """Make the stage; what is unknown of one part is unknown of all."""
        scorer = self.known[self.scorer]
        aside = [known for n, known in enumerate(self.known) if n != self.scorer]
        depends: Depends = scorer.depends if all(part.depends == "point" for part in aside) else "unknown"
        changed = self.trimmed or any(known.documents == "any" for known in self.known) or not all(part.listed for part in aside)
        documents: Documents = "new" if self.retrieves else "any" if changed else "same"
        return Stage(scorer.name, tuple(self.transformers), self.cutoff, depends, documents, self.scorer)


def read(pipeline: Sequence[pt.Transformer | Stage]) -> tuple[tuple[Stage, ...], tuple[pt.Transformer, ...]]:
    """Read a flat pipeline into its stages, and what comes after the last of them.

    A transformer *creates the score* if ``score`` is among its outputs when it is not among its inputs; it *adjusts* the score if
    it works only where there is one; else it *loads* something (a text, a vector, a rewritten query) for the next scorer.
    PyTerrier's own inspection says which, except for the classes in ``known``. Inspection calls a transformer on 0 rows.

    Args:
        pipeline: The transformers in order, each ``%`` a ``pt.RankCutoff``; a ready Stage stands for itself.

    Returns:
        The stages, with unique names, and the transformers that follow the last score and its cut-off.

    Raises:
        PipelineError: A transformer cannot be inspected, nothing creates a score, or a cut-off has nothing to cut.
    """
    attempts: list[list[str]] = []
    for start in _starts(pipeline):
        problems: list[str] = []
        drafts, ending = _read_from(pipeline, start, problems)
        if not problems:
            stages = [draft if isinstance(draft, Stage) else draft.finish() for draft in drafts]
            names = unique_names(stage.name for stage in stages)
            return tuple(replace(stage, name=name) for stage, name in zip(stages, names, strict=True)), tuple(ending)
        attempts.append(problems)
    fewest = min(attempts, key=len)
    fix = "stage % 100" if all("cut-off of stage" in problem for problem in fewest) else f"write its stages yourself: {_BY_HAND}"
    raise PipelineError("this pipeline cannot be read as a cascade", fewest, fix=fix)


def _starts(pipeline: Sequence[pt.Transformer | Stage]) -> Iterator[Columns]:
    """Topics, results, results with text, or whatever else the first transformer says it wants."""
    yield list(_TOPICS)
    wants: list[Columns] = []
    if pipeline and not isinstance(pipeline[0], Stage):
        wants = pt.inspect.transformer_inputs(pipeline[0], strict=False) or []
    yield from (["qid", *(column for column in wanted if column != "qid")] for wanted in wants if "docno" not in wanted)
    yield list(_RESULTS)
    yield [*_RESULTS, "text"]
    yield from ([*_RESULTS, *(column for column in wanted if column not in _RESULTS)] for wanted in wants)


def _read_from(
    pipeline: Sequence[pt.Transformer | Stage], columns: Columns, problems: list[str]
) -> tuple[list[_Draft | Stage], list[pt.Transformer]]:
    """Walk the pipeline, knowing which columns flow into each transformer."""
    done: list[_Draft | Stage] = []
    waiting: list[pt.Transformer] = []
    given = columns
    for item in pipeline:
        given = given if waiting else columns
        if isinstance(item, Stage):
            scorer = item.scorer % len(item.transformers) + len(waiting)
            done.append(replace(item, transformers=(*waiting, *item.transformers), scorer=scorer))
            waiting, columns = [], sorted({*columns, *_RESULTS})
        elif isinstance(item, pt.RankCutoff):
            _cut(item, done, waiting, problems)
            waiting = []
        else:
            role, after = _role(item, columns)
            if role is None:
                problems.append(f"{item!r} can be inspected neither with columns {columns} nor without score: is a column missing?")
            elif role == "scorer" or (role == "adjuster" and _stands_alone(item, done)):
                done.append(_draft(waiting, item, retrieves="docno" not in columns or "docno" not in given))
                waiting = []
            elif role == "adjuster" and done:
                _extend(done, [*waiting, item])
                waiting = []
            else:
                waiting.append(item)
            columns = after or columns
    if not done and not problems:
        problems.append("no transformer in it creates a score")
    return done, waiting


def _draft(waiting: list[pt.Transformer], scorer: pt.Transformer, *, retrieves: bool) -> _Draft:
    """Begin a stage with a scorer and what was loaded for it."""
    draft = _Draft(scorer=len(waiting), retrieves=retrieves)
    for part in (*waiting, scorer):
        draft.add(part)
    return draft


def _stands_alone(item: pt.Transformer, done: list[_Draft | Stage]) -> bool:
    """Tell whether what needs a score is a ranker of its own: nobody says that it adjusts, and the stage before has its cut-off."""
    return look_up(item).role is None and bool(done) and done[-1].cutoff is not None


def _cut(cutoff: pt.RankCutoff, done: list[_Draft | Stage], waiting: list[pt.Transformer], problems: list[str]) -> None:
    """Give the last stage its cut-off; what stands between them is then part of the stage."""
    if not done:
        problems.append(f"{cutoff!r} has nothing to cut: no transformer before it creates a score")
        return
    last = done[-1]
    name = last.name if isinstance(last, Stage) else last.known[last.scorer].name
    try:
        k = check_cutoff(cutoff.k, name)
    except PipelineError as error:
        problems.append(": ".join([error.what, *error.problems]))
        return
    if waiting:
        _extend(done, waiting)
        last = done[-1]
    k = k if last.cutoff is None else min(k or last.cutoff, last.cutoff)
    if isinstance(last, Stage):
        done[-1] = replace(last, cutoff=k)
    else:
        last.cutoff = k


def _extend(done: list[_Draft | Stage], parts: list[pt.Transformer]) -> None:
    """Put what follows a scorer, and the cut-off that may stand between, into its stage."""
    last = done[-1]
    parts = [*([] if last.cutoff is None else [pt.RankCutoff(last.cutoff)]), *parts]
    if isinstance(last, Stage):
        done[-1] = replace(last, transformers=(*last.transformers, *parts), cutoff=None, depends="unknown", documents="any")
        return
    for part in parts:
        last.add(part)
        last.trimmed = last.trimmed or isinstance(part, pt.RankCutoff)
    last.cutoff = None


def _role(transformer: pt.Transformer, columns: Columns) -> tuple[Role | None, Columns | None]:
    """Tell what a transformer does to frames of these columns, and the columns it gives."""
    known = look_up(transformer)
    if known.role == "loader" and known.documents == "any" and "docno" not in columns:  # set operations of retrievers
        return known.role, [*columns, "docno"]
    full = pt.inspect.transformer_outputs(transformer, columns, strict=False)
    if known.role is not None and (full or known.documents == "any" or "docno" in columns):
        scored = [*columns, *(name for name in ("docno", "score", "rank") if name not in columns)]
        return known.role, full or (scored if known.role == "scorer" else columns)
    bare = pt.inspect.transformer_outputs(transformer, [c for c in columns if c not in ("score", "rank")], strict=False)
    if bare is not None and {"score", "docno"} <= set(bare):
        return "scorer", full or bare
    if (bare is None and full is None) or "score" in (bare or ()):
        return None, None
    adjusts = bare is None and full is not None and {"score", "docno"} <= set(full)
    return ("adjuster" if adjusts else "loader"), full or bare
