"""The plan of a table: the stages of all cascades, each once, and how deep each is scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from typing import TypeAlias

import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import Cutoff, check_cutoff
from pt_cascade.analysis.table.data import OWN_COLUMNS, Path
from pt_cascade.cascade import Cascade, Stage
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.cascade.known import find_dependence, keeps_ranking
from pt_cascade.cascade.stage import unique_names
from pt_cascade.cascade.wrappers import remove_caches
from pt_cascade.errors import PipelineError
from pt_cascade.numbers import is_several

Checked: TypeAlias = "tuple[int | None, ...]"

_WHAT = "these cascades cannot be scored"
_NOT_POINTWISE = ("pairwise", "listwise")


@dataclass(frozen=True)
class Plan:
    """Which stages to run, and how deep.

    Attributes:
        stages: One a column of the table by its name, the first stage first, without cut-offs.
        paths: The sequences of stages to score; cascades that differ only in cut-offs share one.
        depth: How many documents of a query the first stage passes on; None: all.
    """

    stages: Mapping[str, Stage]
    paths: tuple[Path, ...]
    depth: int | None


def make_plan(cascades: pt.Transformer | Sequence[pt.Transformer], depths: Sequence[Cutoff] | None = None) -> Plan:
    """Collect the stages of the cascades, and refuse what cannot be replayed."""
    listed = [cascades] if isinstance(cascades, pt.Transformer) else cascades
    if not isinstance(listed, Iterable) or isinstance(listed, str) or not (listed := list(listed)):
        problem = f"{cascades!r} ({type(cascades).__name__}), expected one pipeline or several"
        raise PipelineError(_WHAT, [problem], fix="score(retriever % 1000 >> reranker % 20, topics)")
    read = [Cascade.of(cascade) for cascade in listed]
    first = read[0].stages[0]
    if others := [repr(one) for one in read if not same(one.stages[0], first)]:
        problem = f"their first stages differ: {read[0]!r}; {'; '.join(others)}"
        raise PipelineError(_WHAT, [problem], fix="make one table for each: [score(cascade, topics) for cascade in cascades]")
    scored = [_list_scored(one) for one in read]
    if misfits := [misfit for one, mine in zip(read, scored, strict=True) for misfit in _misfits(one, mine)]:
        fix = f"score the stages before it, e.g. score(cascade.prefix({misfits[0][0]}), topics)"
        raise PipelineError(_WHAT, dict.fromkeys(problem for _, problem in misfits), fix=fix)
    checked = _check_depths(read, depths)
    columns: list[Stage] = []
    for stage in chain.from_iterable(scored):
        twin = next((column for column in columns if same(stage, column)), None)
        if twin is None:
            columns.append(stage)
        elif (stage.on_error, stage.time_limit_ms) != (twin.on_error, twin.time_limit_ms):
            problem = f"stage {stage.name!r} has other options in another cascade"
            raise PipelineError(_WHAT, [problem], fix="give all cascades the same: cascade.options(on_error='raise')")
    names = unique_names([*OWN_COLUMNS, "query", *(stage.name for stage in columns)])[len(OWN_COLUMNS) + 1 :]
    stages = {name: replace(stage, name=name, cutoff=None, rule=None) for stage, name in zip(columns, names, strict=True)}
    paths: dict[tuple[tuple[str, ...], str], Path] = {}  # cascades that differ only in cut-offs share one
    deep: dict[tuple[str, ...], list[Checked]] = {}  # paths with the same stages get the largest depths
    for one, mine, depth in zip(read, scored, checked, strict=True):
        own = tuple(names[next(n for n, column in enumerate(columns) if same(stage, column))] for stage in mine)
        live = one[-1].name if len(own) < len(one) else ""
        paths.setdefault((own, live), Path(own, one.cutoffs[: len(own)], live=live))
        deep.setdefault(own, []).append(depth[: len(own) - 1])
    merged = (replace(path, depths=tuple(map(_deepest, zip(*deep[path.stages], strict=True)))) for path in paths.values())
    passed = [depth[0] if depth else one.cutoffs[0] for one, depth in zip(read, checked, strict=True)]
    return Plan(stages, tuple(merged), _deepest(passed))


def same(one: Stage, other: Stage) -> bool:
    """Whether two stages run the same transformers; names and cut-offs do not count."""
    if len(one.transformers) != len(other.transformers):
        return False
    if all(left is right for left, right in zip(one.transformers, other.transformers, strict=True)):
        return True
    one, other = remove_caches(one), remove_caches(other)
    try:
        equal = bool(one.transformers == other.transformers)
    except ValueError:  # some settings are arrays
        equal = False
    return equal and fingerprint(one) == fingerprint(other)  # pyterrier_dr's retrievers with different masks compare equal


def _list_scored(cascade: Cascade) -> tuple[Stage, ...]:
    """Return the stages that are scored: all but a pairwise or listwise last one."""
    *before, last = cascade.stages
    return tuple(before) if before and find_dependence(last) in _NOT_POINTWISE else cascade.stages


def _misfits(cascade: Cascade, scored: Sequence[Stage]) -> list[tuple[int, str]]:
    """List what cannot be replayed after the first stage, each with the number of stages before it."""
    problems = []
    for n, stage in enumerate(scored[1:], start=1):
        if (depends := find_dependence(stage)) in _NOT_POINTWISE:
            problem = f"the scores of stage {stage.name!r} depend on other documents ({depends}), so it can only be the last stage"
            problems.append((n, problem))
        if stage.documents == "retrieves":
            problems.append((n, f"stage {stage.name!r} retrieves again, so its results depend on the cut-offs before it"))
        if twin := next((one for one in scored[:n] if same(one, stage)), None):
            problems.append((n, f"stages {twin.name!r} and {stage.name!r} are the same"))
    if len(scored) == len(cascade.stages):  # else Cascade.finish runs the ending
        problem = "may change rows or scores, which a replay would not show; cascade.finish(table) runs it"
        unknown = [part for part in cascade.ending if not keeps_ranking(part)]
        problems += [(len(scored), f"{part!r} after the last stage {problem}") for part in unknown]
    return [(n, f"{problem}, in {cascade!r}") for n, problem in problems]


def _check_depths(cascades: Sequence[Cascade], depths: Sequence[Cutoff] | None) -> list[Checked]:
    """Return the depth of each stage but the last, for each cascade."""
    if depths is None:
        return [one.cutoffs[:-1] for one in cascades]
    longest = max(map(len, cascades)) - 1
    fix = f"depths={tuple([1000, 100, 20, *[20] * longest][:longest])}"
    given = [*depths] if is_several(depths) else None
    if given is None or len(given) != longest:
        problem = f"depths are {depths!r}, expected one for each stage but the last, {longest}"
        raise PipelineError(_WHAT, [problem], fix=fix)
    problems: list[str] = []
    checked = [tuple(_fit(one, n, depth, problems) for n, depth in enumerate(given[: len(one) - 1])) for one in cascades]
    if problems:
        raise PipelineError(_WHAT, dict.fromkeys(problems), fix=fix)
    return checked


def _fit(cascade: Cascade, n: int, depth: Cutoff, problems: list[str]) -> int | None:
    """Check the depth of one stage; add what is wrong to ``problems``."""
    stage = cascade[n]
    try:
        checked = check_cutoff(depth, stage.name)
    except PipelineError as error:
        problems.append(f"the depth {error.what.removeprefix('cut-off ')}, {error.problems[0]}")
        return None
    if checked is not None and stage.cutoff is not None and stage.cutoff > checked:
        problems.append(f"the depth of stage {stage.name!r} is {checked}, but {cascade!r} passes on {stage.cutoff}")
    return checked


def _deepest(depths: Iterable[int | None]) -> int | None:
    return max(depths, key=lambda depth: inf if depth is None else depth)
