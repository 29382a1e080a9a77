"""Caches around stages: how to find the stage itself, wherever in a pipeline its cache is."""

from __future__ import annotations

import operator
from copy import copy
from dataclasses import fields, is_dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyterrier as pt

from pt_cascade.cascade.stage import Stage
from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator

_T = TypeVar("_T")
_LOADED = "_transformer"
_HOLDERS = {  # class: the attribute with the stage that it caches or has loaded
    "pyterrier_caching.util.Lazy": _LOADED,
    "pyterrier_caching.scorer_cache.Sqlite3ScorerCache": "scorer",
    "pyterrier_caching.scorer_cache.Hdf5ScorerCache": "scorer",
    "pyterrier_caching.scorer_cache.Hdf5ScorerCacheScorer": "cache",
    "pyterrier_caching.retriever_cache.DbmRetrieverCache": "retriever",
    "pyterrier_caching.key_value_cache.Sqlite3KeyValueCache": "transformer",
}


def remove_caches(stage: Stage, *, load: bool = False) -> Stage:
    """Return a stage with each cache replaced by the stage that it caches, also inside ``hybrid`` or ``2 * cached(...)``.

    A transformer is a cache if it has an attribute ``stands_for``, or is one of pyterrier_caching. What holds a cache is copied,
    with the stage itself in its place. Without a cache the same stage is returned. ``load``: what is behind ``Lazy`` is loaded, as
    running the stage would, and searched too. It has none of the options of a cascade.

    Example:
        >>> import pyterrier as pt
        >>> from pt_cascade.cascade import Stage
        >>> cache = pt.apply.doc_score(lambda row: 1.0)
        >>> cache.stands_for = pt.RankCutoff(3)
        >>> remove_caches(Stage("s", (cache,))).transformers
        (RankCutoff(3),)
        >>> remove_caches(Stage("s", (2 * cache,))).transformers
        ((RankCutoff(3) >> ScalarProduct(2)),)
    """
    parts = tuple(_unwrap(part, (), load=load) for part in stage.transformers)
    stage = replace(stage, on_error="raise", time_limit_ms=None) if stage.runs_by_query else stage
    return stage if all(map(operator.is_, parts, stage.transformers)) else replace(stage, transformers=parts)


def is_lazy(transformer: object) -> bool:
    """Tell whether a transformer loads another one when it is first used.

    Example:
        >>> import pyterrier as pt
        >>> is_lazy(pt.RankCutoff(3))
        False
    """
    return _held_as(transformer) == _LOADED


def held(transformer: pt.Transformer, above: tuple[int, ...] = ()) -> Iterator[pt.Transformer]:
    """Yield a transformer and all that it holds or stands for, as far as PyTerrier can tell; ``above`` are the ids of its holders.

    Example:
        >>> import pyterrier as pt
        >>> list(held(pt.RankCutoff(3) >> pt.RankCutoff(2)))
        [(RankCutoff(3) >> RankCutoff(2)), RankCutoff(3), RankCutoff(2)]
    """
    yield transformer
    for parts in (*pt.inspect.subtransformers(transformer).values(), wrapped(transformer) or []):
        for part in parts if isinstance(parts, list) else [parts]:
            if id(part) not in above:
                yield from held(part, (*above, id(transformer)))


def wrapped(value: object) -> pt.Transformer | None:
    """Return the stage that a transformer caches or has loaded; None if it is not a cache, or does not hold its stage."""
    if (other := getattr(value, "stands_for", None)) is not None:
        return other
    return getattr(value, _held_as(value), None)


def refuse_bare_caches(stage: Stage) -> None:
    """Refuse to time a cache that does not hold its stage."""
    for part in chain.from_iterable(map(held, stage.transformers)):
        if (name := _held_as(part)) not in ("", _LOADED) and wrapped(part) is None:
            problem = f"{part!r} has no {name}, so a profile would time its look-ups"
            raise PipelineError(f"stage {stage.name!r} cannot be timed", [problem], fix=f"give the cache its {name}")


def _held_as(value: object) -> str:
    """Return the attribute in which a cache or ``Lazy`` has its stage; empty for others."""
    names = (f"{base.__module__}.{base.__qualname__}" for base in type(value).__mro__)
    return next((_HOLDERS[name] for name in names if name in _HOLDERS), "")


def _unwrap(value: _T, above: tuple[int, ...], *, load: bool) -> _T:
    """Give a value without caches; the same object where it holds none. ``above`` are the ids of its holders."""
    if id(value) in above:
        return value
    unwrap = partial(_unwrap, above=(*above, id(value)), load=load)
    if isinstance(value, (list, tuple, dict)):
        old = list(value.values() if isinstance(value, dict) else value)
        new = list(map(unwrap, old))
        made = zip(value, new, strict=True) if isinstance(value, dict) else new
        return value if all(map(operator.is_, new, old)) else type(value)(made)
    if not isinstance(value, (pt.Transformer, Stage)):
        return value
    if is_lazy(value):
        loaded = cast("Any", value).load() if load else None
        return value if (bare := unwrap(loaded)) is loaded else cast("_T", bare)
    if (cached := wrapped(value)) is not None:
        return cast("_T", unwrap(cached))
    names = [field.name for field in fields(value) if field.init] if is_dataclass(value) else list(vars(value))
    parts_by_name = {name: (part, unwrap(part)) for name in names if (part := getattr(value, name, None)) is not None}
    changed = {name: new for name, (part, new) in parts_by_name.items() if new is not part}
    other = copy(value) if changed else value
    for name, new in changed.items():
        object.__setattr__(other, name, new)  # also of a frozen dataclass
    return other
