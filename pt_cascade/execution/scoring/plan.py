"""What is to be scored: the stages that several cascades share, and how deep each is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import Cutoff, check_cutoff
from pt_cascade.analysis.table.data import OWN_COLUMNS, Path
from pt_cascade.cascade import Cascade, Stage
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.cascade.known import find_dependence, keeps_ranking
from pt_cascade.cascade.stage import unique_names
from pt_cascade.cascade.stand_ins import live
from pt_cascade.errors import PipelineError

Depths: TypeAlias = "Sequence[Cutoff] | Sequence[Sequence[Cutoff]]"
Checked: TypeAlias = "tuple[int | None, ...]"

_WHAT = "these cascades cannot be scored"
_NOT_POINTWISE = ("pairwise", "listwise")


@dataclass(frozen=True)
class Plan:
    """Which stages to run, on what.

    Attributes:
        stages: One a column of the table, the shared first one first; names unique, no cut-offs.
        paths: One for each cascade that differs from the others by more than its cut-offs.
        depth: How many documents of a query the first stage passes on; None: all.
    """

    stages: tuple[Stage, ...]
    paths: tuple[Path, ...]
    depth: int | None

    def stage(self, name: str) -> Stage:
        """Return a stage by the name of its column."""
        return next(stage for stage in self.stages if stage.name == name)


def make_plan(cascades: pt.Transformer | Sequence[pt.Transformer], depths: Depths | None = None) -> Plan:
    """Find the stages that cascades share, and refuse what cannot be replayed.

    Args:
        cascades: One pipeline, or several that begin with an equal first stage.
        depths: K_1, K_2, ... for each stage but the last of the longest cascade, or such a tuple for each cascade; None: the
            cascades' own cut-offs.

    Returns:
        The plan.

    Raises:
        PipelineError: There is no cascade; the first stages differ; a later stage retrieves anew, stands twice, or depends on the
            whole list without standing last; what follows the last stage may change its ranking; a depth is no cut-off, or below a
            cascade's own.

    Example:
        >>> import pandas as pd
        >>> found = pd.DataFrame({"qid": ["1"], "query": ["q"], "docno": ["d"], "score": [1.0], "rank": [0]})
        >>> run, ones = pt.Transformer.from_df(found), pt.apply.doc_score(lambda row: 1.0)
        >>> [path.stages for path in make_plan([run % 9 >> ones, run % 5]).paths]
        [('run', 'doc_score'), ('run',)]
    """
    listed: list[pt.Transformer] = [cascades] if isinstance(cascades, pt.Transformer) else list(_iterate(cascades))
    if not listed:
        raise PipelineError(_WHAT, ["there is none"], fix="score(retriever % 1000 >> reranker % 20, topics)")
    read = [Cascade.of(cascade) for cascade in listed]
    first = read[0][0]
    if others := [repr(one) for one in read if not same(one[0], first)]:
        problem = f"they do not begin with one first stage: {read[0]!r}; {'; '.join(others)}"
        raise PipelineError(_WHAT, [problem], fix="one table each: [score(cascade, topics) for cascade in cascades]")
    if misfits := [misfit for one in read for misfit in _misfits(one)]:
        fix = f"score the stages before it, e.g. score(cascade.prefix({misfits[0][0]}), topics)"
        raise PipelineError(_WHAT, dict.fromkeys(problem for _, problem in misfits), fix=fix)
    checked = _check_depths(read, depths)
    columns: list[Stage] = []
    positions = [[_position(columns, stage) for stage in _scored(one)] for one in read]
    names = unique_names([*OWN_COLUMNS, "query", *(stage.name for stage in columns)])[len(OWN_COLUMNS) + 1 :]
    stages = tuple(replace(stage, name=name, cutoff=None) for stage, name in zip(columns, names, strict=True))
    paths = [
        Path(
            tuple(names[n] for n in position),
            one.cutoffs[: len(position)],
            depth[: len(position) - 1],
            one[-1].name if len(position) < len(one) else "",
        )
        for one, position, depth in zip(read, positions, checked, strict=True)
    ]
    passed = [depth[0] if depth else one.cutoffs[0] for one, depth in zip(read, checked, strict=True)]
    return Plan(stages, _merge(paths), _deepest(passed))


def same(one: Stage, other: Stage) -> bool:
    """Tell whether two stages run the same, whatever they are called and wherever they cut.

    Args:
        one: A stage.
        other: Another.
    """
    if len(one.transformers) != len(other.transformers):
        return False
    if all(left is right for left, right in zip(one.transformers, other.transformers, strict=True)):
        return True
    one, other = live(one), live(other)
    try:
        equal = bool(one.transformers == other.transformers)
    except ValueError:  # arrays among their settings
        equal = False
    return equal and fingerprint(one) == fingerprint(other)  # pyterrier_dr's retrievers with other masks call themselves equal


def _iterate(cascades: object) -> Iterable[pt.Transformer]:
    if isinstance(cascades, Iterable) and not isinstance(cascades, str):
        return cascades
    problem = f"{cascades!r} ({type(cascades).__name__}), expected one pipeline or several"
    raise PipelineError(_WHAT, [problem], fix="score(retriever % 1000 >> reranker % 20, topics)")


def _scored(cascade: Cascade) -> tuple[Stage, ...]:
    """Return the stages whose scores can be kept: all but a last one that depends on other documents as well."""
    live = len(cascade) > 1 and find_dependence(cascade[-1]) in _NOT_POINTWISE
    return cascade.stages[:-1] if live else cascade.stages


def _misfits(cascade: Cascade) -> list[tuple[int, str]]:
    """Say what after the first stage cannot be replayed, and how many stages stand before it."""
    scored, found = _scored(cascade), f"in {cascade!r}"
    problems = []
    for n, stage in enumerate(scored[1:], start=1):
        if (depends := find_dependence(stage)) in _NOT_POINTWISE:
            problem = f"the scores of stage {stage.name!r} depend on other documents ({depends}), so it may only stand last"
            problems.append((n, f"{problem}, {found}"))
        if stage.documents == "retrieves":
            problem = "retrieves anew, so what it returns depends on the cut-offs before it"
            problems.append((n, f"stage {stage.name!r} {problem}, {found}"))
        if twin := next((one for one in scored[:n] if same(one, stage)), None):
            problems.append((n, f"stages {twin.name!r} and {stage.name!r} are the same, {found}"))
    if len(scored) == len(cascade):  # else ``finish`` runs the last stage and what follows it
        problem = "may change its rows or scores, which no replay would show; finish(table, cascade) runs it"
        unknown = [part for part in cascade.ending if not keeps_ranking(part)]
        problems += [(len(cascade), f"{part!r} after the last stage {problem}, {found}") for part in unknown]
    return problems


def _check_depths(cascades: Sequence[Cascade], depths: Depths | None) -> list[Checked]:
    """Give each cascade the depth of each of its stages but the last."""
    if depths is None:
        return [one.cutoffs[:-1] for one in cascades]
    longest = max(map(len, cascades)) - 1
    fix = f"depths=({', '.join(['1000', '100', '20', *['20'] * longest][:longest])}{',' * (longest == 1)})"
    wanted = f"expected one for each stage but the last, {longest}, or {len(cascades)} such tuple(s)"
    if not hasattr(depths, "__getitem__"):
        raise PipelineError(_WHAT, [f"depths are {depths!r} ({type(depths).__name__}), {wanted}"], fix=fix)
    each = [depth for depth in depths if isinstance(depth, Sequence)]
    flat = [depth for depth in depths if not isinstance(depth, Sequence)]
    given = each or [flat[: len(one) - 1] for one in cascades]
    lengths = [len(one) - 1 for one in cascades]
    if (each and (flat or [len(depth) for depth in each] != lengths)) or (not each and len(flat) != longest):
        raise PipelineError(_WHAT, [f"depths are {tuple(depths)!r}, {wanted}"], fix=fix)
    problems: list[str] = []
    checked = [_fit(one, depth, problems) for one, depth in zip(cascades, given, strict=True)]
    if problems:
        raise PipelineError(_WHAT, dict.fromkeys(problems), fix=fix)
    return checked


def _fit(cascade: Cascade, depths: Sequence[Cutoff], problems: list[str]) -> Checked:
    """Check one cascade's depths; a stage that does not cut is asked as deep as told."""
    checked: list[int | None] = []
    for stage, depth in zip(cascade, depths, strict=False):
        try:
            checked.append(check_cutoff(depth, stage.name))
        except PipelineError as error:
            problems.append(f"the depth {error.what.removeprefix('cut-off ')}, {error.problems[0]}")
            continue
        if checked[-1] is not None and stage.cutoff is not None and stage.cutoff > checked[-1]:
            problems.append(f"the depth of stage {stage.name!r} is {checked[-1]}, but {cascade!r} passes on {stage.cutoff}")
    return tuple(checked)


def _position(columns: list[Stage], stage: Stage) -> int:
    """Find a stage's column, or add one."""
    found = next((n for n, column in enumerate(columns) if same(column, stage)), len(columns))
    if found == len(columns):
        columns.append(stage)
    return found


def _merge(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Make one of the paths that differ in cut-offs only, and ask all that share their stages equally deep."""
    merged: dict[tuple[tuple[str, ...], str], Path] = {}
    for path in paths:
        depths = tuple(_deepest(each) for each in zip(*(one.depths for one in paths if one.stages == path.stages), strict=True))
        merged.setdefault((path.stages, path.live), replace(path, depths=depths))
    return tuple(merged.values())


def _deepest(depths: Sequence[int | None]) -> int | None:
    known = [depth for depth in depths if depth is not None]
    return max(known) if len(known) == len(depths) else None
