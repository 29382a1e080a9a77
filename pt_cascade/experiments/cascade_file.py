"""A cascade in a YAML file: a collection, stages with cut-offs, a fusion and options."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from pt_cascade.errors import CascadeError, MissingError, did_you_mean
from pt_cascade.execution.composing import check_line, parse_cascade
from pt_cascade.experiments.documents import Document, Place, Strict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pt_cascade.cascade import Cascade
    from pt_cascade.collections import Collection
    from pt_cascade.files import PathLike


def _check_stage(text: str, info: ValidationInfo) -> str:
    """Refuse what is not one stage of ``pt-cascade stages`` with literal arguments; with runs, any name is one."""
    if "runs" in (info.context or {}):
        return text
    try:
        tree = check_line(text)
    except CascadeError as error:
        raise ValueError("; ".join(error.problems)) from None
    if isinstance(tree, ast.BinOp):
        raise ValueError(f"{text!r} is more than one stage; give each an entry of its own, with its cutoff beside it")  # noqa: TRY004
    return text


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
StageText = Annotated[str, AfterValidator(_check_stage)]
Weights = Annotated[dict[str, Amount], Field(min_length=1)]


class CutStage(Strict):
    """A stage and its cut-off.

    Attributes:
        stage: As in ``parse_cascade``: ``bi_encoder`` or ``cross_encoder('MODEL', batch_tokens=8192)``.
        cutoff: How many documents of a query it passes on; None: all.
    """

    stage: StageText
    cutoff: Count | None = None


class Options(Strict):
    """The options of ``Cascade.options``."""

    tail: Literal["drop", "keep"] | None = None
    on_error: Literal["raise", "keep"] | None = None
    time_limit_ms: dict[str, Amount] = Field(default_factory=dict)


class CascadeFile(Strict):
    """A cascade over a collection.

    Attributes:
        collection: Its name, as for ``open_collection``; see ``find_collection`` for folders.
        stages: The first stage first.
        fusion: The weight of each stage, for ``Cascade.fused``; None: not fused.
        engine: The BM25 engine; None: PISA if it is installed.
        options: What happens to documents that are cut, to failures and to late stages.
    """

    collection: str
    stages: Annotated[tuple[CutStage, ...], Field(min_length=1, strict=False)]
    fusion: Weights | None = None
    engine: Literal["pisa", "terrier"] | None = None
    options: Options = Options()

    def find_problems(self) -> Iterator[tuple[Place, str]]:
        """Yield the weights of stages that there are not."""
        yield from find_weight_problems(self.fusion, [name_stage(one.stage) for one in self.stages])

    def line(self) -> str:
        """Return the stages in the notation of ``parse_cascade``, without the fusion."""
        return write_line([(one.stage, one.cutoff) for one in self.stages])

    def build(self, collection: Collection, *, verbose: bool = False) -> Cascade:
        """Build the cascade, and the collection's index and vectors where they are new."""
        cascade = parse_cascade(self.line(), collection, engine=self.engine, verbose=verbose).fused(self.fusion)
        return set_options(cascade, self.options)


def read_cascade(path: PathLike) -> CascadeFile:
    """Read a cascade from a YAML file; raise an ExperimentError with all problems, each with its line."""
    return Document(path).read(CascadeFile)


def name_stage(text: str) -> str:
    """Return the name of a stage without its arguments."""
    return text.partition("(")[0].strip()


def find_weight_problems(weights: Mapping[str, float] | None, stages: Sequence[str]) -> Iterator[tuple[Place, str]]:
    """Yield the weights of stages that there are not."""
    for name in weights or ():
        if name not in stages:
            yield ("fusion", name), f"fusion.{name} is no stage{did_you_mean(name, stages)} (stages are {', '.join(stages)})"


def write_line(stages: list[tuple[str, int | None]]) -> str:
    """Write stages and cut-offs in the notation of ``parse_cascade``.

    Example:
        >>> write_line([("bm25", 100), ("bi_encoder", None)])
        'bm25 % 100 >> bi_encoder'
    """
    return " >> ".join(stage if cutoff is None else f"{stage} % {cutoff}" for stage, cutoff in stages)


def set_options(cascade: Cascade, options: Options) -> Cascade:
    """Return a cascade with the options of a file."""
    return cascade.options(tail=options.tail, on_error=options.on_error, time_limit_ms=options.time_limit_ms or None)


def find_path(text: str, file: Path) -> str:
    """Return a path of a file: variables such as ``$PT_CASCADE_DATA`` are replaced; it is relative to the file's folder.

    Example:
        >>> from pathlib import Path
        >>> find_path("./scifact", Path("/mine/experiment.yaml"))
        '/mine/scifact'
    """
    expanded = os.path.expandvars(os.path.expanduser(text))  # noqa: PTH111 - beside expandvars
    if expanded.startswith("$"):
        name = expanded[1:].partition("/")[0]
        raise MissingError(f"there is no variable {name}, which {text!r} of {file} needs", fix=f"export {name}=/a/folder")
    return str(file.absolute().parent / expanded)


def find_collection(name: str, file: Path) -> str:
    """Return a collection for ``open_collection``; of a folder, as ``./scifact`` or ``$PT_CASCADE_DATA/scifact``, the path.

    Example:
        >>> from pathlib import Path
        >>> find_collection("pydocs", Path("/mine/experiment.yaml"))
        'pydocs'
    """
    return find_path(name, file) if name.startswith((".", "/", "~", "$")) else name
