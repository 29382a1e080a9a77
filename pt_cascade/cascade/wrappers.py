"""Caches around stages: how to find the stage itself, wherever in a pipeline its cache is."""

from __future__ import annotations

import operator
import warnings
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

import pyterrier as pt

from pt_cascade.cascade.stage import Stage
from pt_cascade.errors import CascadeWarning, PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

_T = TypeVar("_T")
_CACHES = {  # class: the attribute with the stage that it caches
    "pyterrier_caching.scorer_cache.Sqlite3ScorerCache": "scorer",
    "pyterrier_caching.scorer_cache.Hdf5ScorerCache": "scorer",
    "pyterrier_caching.scorer_cache.Hdf5ScorerCacheScorer": "cache",
    "pyterrier_caching.retriever_cache.DbmRetrieverCache": "retriever",
    "pyterrier_caching.key_value_cache.Sqlite3KeyValueCache": "transformer",
}


def live(stage: Stage) -> Stage:
    """Return a stage with each cache replaced by the stage that it caches, also inside ``hybrid`` or ``2 * cached(...)``.

    A transformer is a cache if it has an attribute ``stands_for``, or is one of pyterrier_caching. What holds a cache is made anew
    around the stage itself; a PipelineError says where that is impossible. Without a cache the same stage is returned.

    Example:
        >>> import pyterrier as pt
        >>> from pt_cascade import Stage
        >>> cache = pt.apply.doc_score(lambda row: 1.0)
        >>> cache.stands_for = pt.RankCutoff(3)
        >>> live(Stage("s", (cache,))).transformers
        (RankCutoff(3),)
        >>> live(Stage("s", (2 * cache,))).transformers
        ((RankCutoff(3) >> ScalarProduct(2)),)
    """
    parts = _unwrap(stage.transformers, ())
    return stage if parts is stage.transformers else replace(stage, transformers=parts)


def wrapped(value: object) -> pt.Transformer | None:
    """Return the stage that a transformer caches; None where it is no cache, or has no stage to ask."""
    if (other := getattr(value, "stands_for", None)) is not None:
        return other
    return getattr(value, _cached_attribute(value), None)


def refuse_bare_caches(stage: Stage) -> None:
    """Refuse to time a cache that has no stage to ask."""
    for part in stage.transformers:
        if (name := _cached_attribute(part)) and wrapped(part) is None:
            problem = f"{part!r} has no {name}, so that a profile would time its look-ups"
            raise PipelineError(f"stage {stage.name!r} cannot be timed", [problem], fix=f"give the cache its {name}")


def _cached_attribute(value: object) -> str:
    names = (f"{base.__module__}.{base.__qualname__}" for base in type(value).__mro__)
    return next((_CACHES[name] for name in names if name in _CACHES), "")


def _unwrap(value: _T, above: tuple[int, ...]) -> _T:
    """Give a value without caches; the same object where it holds none. ``above`` are the ids of its holders."""
    if id(value) in above:
        return value
    above = (*above, id(value))
    if isinstance(value, (list, tuple)):
        parts = [_unwrap(part, above) for part in value]
        return value if all(map(operator.is_, parts, value)) else type(value)(parts)
    if not isinstance(value, (pt.Transformer, Stage)):
        return value
    if (other := wrapped(value)) is not None:
        return cast("_T", _unwrap(other, above))
    names = [field.name for field in fields(value) if field.init] if is_dataclass(value) else list(vars(value))
    parts_by_name = {name: (part, _unwrap(part, above)) for name in names if (part := getattr(value, name, None)) is not None}
    changed = {name: new for name, (part, new) in parts_by_name.items() if new is not part}
    return _rebuild(value, changed) if changed else value


def _rebuild(value: _T, changed: Mapping[str, object]) -> _T:
    """Make something anew with other parts, and check that they are in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CascadeWarning)  # its first construction has warned
            if is_dataclass(value):
                made: _T = replace(value, **changed)  # type: ignore[type-var] # an instance
            else:
                arguments = {name.removeprefix("_"): part for name, part in changed.items()}
                made = pt.inspect.transformer_apply_attributes(value, **arguments)
        if _unwrap(made, ()) is made:
            return made
        why = "its constructor does not take the stage"
    except Exception as error:  # noqa: BLE001 - whatever its constructor does
        why = f"{type(error).__name__}: {error}"
    problem = f"{value!r:.80} holds a cached stage, and cannot be made anew around the stage itself: {why}"
    fix = "put the stage itself there instead of cached(stage, ...)"
    raise PipelineError("a cached stage cannot be replaced by the stage itself", [problem], fix=fix)
