"""Where a cascade comes from: a pipeline, or what a worker in another process makes it of."""

from __future__ import annotations

import inspect
import pickle
import re
import sys
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pyterrier as pt

from pt_cascade.cascade import Cascade
from pt_cascade.errors import CascadeError, MissingError, PipelineError, did_you_mean, first_line

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from pt_cascade.stages.indexing.engines import Engine

_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_FIX = "write a function without arguments that makes the pipeline, in a file such as mine.py, and pass 'mine:function'"


@dataclass(frozen=True)
class CascadeSource:
    """What makes a cascade.

    Attributes:
        make: A pipeline, or a function without arguments that makes one.
        options: Those of ``Cascade.options``.
        score_cache: A folder that keeps scores, as for ``score``; None: they are not kept.
    """

    make: pt.Transformer | Callable[[], pt.Transformer]
    options: Mapping[str, object] = field(default_factory=dict)
    score_cache: str | os.PathLike[str] | None = None

    def build(self) -> Cascade:
        """Make the cascade."""
        made = self.make if isinstance(self.make, pt.Transformer) else self.make()
        if not isinstance(made, pt.Transformer):
            raise PipelineError("there is no cascade", [f"{self.make!r} gave {made!r:.80}, expected a pipeline"], fix=_FIX)
        cascade = Cascade.of(made).options(**self.options)  # type: ignore[arg-type] # checked there
        if self.score_cache is None:
            return cascade
        from pt_cascade.execution.scoring.caching import add_caches  # noqa: PLC0415 - slow to import

        return replace(cascade, stages=add_caches(cascade, self.score_cache))

    def check_portable(self, executor: str) -> None:
        """Refuse what a worker in another process could not make again."""
        problem = ""
        if isinstance(self.make, pt.Transformer):
            problem = "a pipeline with its indexes and models cannot be sent to another process"
        else:
            try:
                pickle.dumps(self.make)
            except Exception as error:  # noqa: BLE001 - of any class
                problem = f"{self.make!r} cannot be sent to another process: {first_line(error)}"
        if problem:
            raise CascadeError(f"executor={executor!r} cannot run this cascade", [problem], fix=f"{_FIX}; or executor='serial'")


def find_source(
    cascade: pt.Transformer | Callable[[], pt.Transformer] | CascadeSource | str,
    collection: str | None,
    options: Mapping[str, object],
    *,
    engine: Engine | None = None,
) -> CascadeSource:
    """Return the source of a pipeline, a function, ``module:name`` or a line; ``options`` that are None stay as they are."""
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(cascade, CascadeSource):
        return replace(cascade, options={**cascade.options, **given})
    if not isinstance(cascade, str):
        if not callable(cascade):
            problem = f"it is {cascade!r:.80}, expected a pipeline, a line, 'module:name' or a function that makes a pipeline"
            raise PipelineError("this is not a cascade", [problem], fix=_FIX)
        return CascadeSource(cascade, given)
    if _FACTORY.fullmatch(cascade):
        if engine is not None:
            problem = f"{cascade} is no line, whose engine could be chosen"
            raise PipelineError("the engine cannot be chosen", [problem], fix="choose it where the pipeline is made")
        return CascadeSource(partial(load_named, cascade), given)
    if collection is None:
        problem = f"{cascade!r:.80} is a line, which needs a collection"
        raise PipelineError("there is no cascade", [problem], fix="collection='pydocs'")
    from pt_cascade.execution.composing import parse_cascade  # noqa: PLC0415 - slow to import, and only lines need it

    return CascadeSource(partial(parse_cascade, cascade, collection, engine=engine), given)


def load_named(name: str) -> pt.Transformer:
    """Import the pipeline ``module:name``, or call the function of that name; the current folder is searched first."""
    module_name, _, attributes = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        problem = f"there is no module {error.name!r} in {here} or among the installed packages"
        raise MissingError(f"cannot load {name!r}", [problem], fix=f"cd to the folder of {module_name.split('.')[0]}.py") from None
    try:
        found = reduce(getattr, attributes.split("."), module)
    except AttributeError as error:
        known = [known for known in vars(module) if not known.startswith("_")]
        raise MissingError(f"cannot load {name!r}", [f"{error}{did_you_mean(attributes, known)}"], fix=_FIX) from None
    if isinstance(found, pt.Transformer):
        return found
    try:
        inspect.signature(found).bind()  # type: ignore[arg-type] # checked by it
    except (TypeError, ValueError):
        problem = f"it is {found!r:.80}, expected a pipeline, or a function without arguments that makes one"
        raise PipelineError(f"cannot load {name!r}", [problem], fix=_FIX) from None
    return found()  # type: ignore[operator] # build() checks what it makes
