"""Builds a cascade over a collection from one line with the names of its stages and their cut-offs."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.cascade import Cascade
from pt_cascade.collections import Collection, open_collection
from pt_cascade.errors import CascadeError, PipelineError, did_you_mean, naming
from pt_cascade.execution.defaults import store_index, store_vectors
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.catalogue import CATALOGUE
from pt_cascade.stages.indexing.engines import check_engine
from pt_cascade.stages.inference.loading import load_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pt_cascade.stages.indexing.engines import Engine

_WHAT = "this line is not a cascade"
_EXAMPLE = "parse_cascade(\"bm25 % 1000 >> bi_encoder % 100 >> mono_t5('castorini/monot5-base-msmarco') % 20\", 'pydocs')"
_STORED = {"bm25": "index", "bi_encoder": "vectors", "dense": "vectors", "late_interaction": "vectors"}
_BRANCHES = ("bm25", "dense")  # of ``hybrid`` without arguments
_MODELS = ("cross_encoder", "mono_t5", "duo_t5")
_FOUND, _SHOWN, _LONGEST = 1000, 200, 100


def parse_cascade(
    line: str, collection: str | Path | Collection, *, engine: Engine | None = None, verbose: bool = False
) -> Cascade:
    """Build a cascade over a collection from one line in PyTerrier's notation.

    Stages have the names and arguments of ``pt-cascade stages``, without index, vectors and texts, which come from the collection.
    A retriever finds 1000 documents, or more if its cut-off is larger.

    Args:
        line: E.g. ``hybrid(bm25, dense) % 500 >> cross_encoder("cross-encoder/ms-marco-MiniLM-L6-v2") % 30``. ``hybrid`` alone is
            ``hybrid(bm25, dense)``.
        collection: Its name, its folder, or itself; see ``open_collection``.
        engine: The BM25 engine, ``pisa`` or ``terrier``; None: PISA if it is installed.
        verbose: Show progress while the index and vectors are built.

    Returns:
        The cascade; the first call for a collection builds its index and vectors.

    Raises:
        PipelineError: The line is not valid.
        CascadeError: The collection, the engine or a model is missing.

    Example:
        >>> parse_cascade("bm25 % 1000 >> lucene % x", "pydocs")
        Traceback (most recent call last):
        ...
        pt_cascade.errors.PipelineError: this line is not a cascade:
          - 'x' is not a cut-off, expected a whole number of 1 or more
          - there is no stage 'lucene'; pt-cascade stages lists them
        Fix: parse_cascade("bm25 % 1000 >> bi_encoder % 100 >> mono_t5('castorini/monot5-base-msmarco') % 20", 'pydocs')
    """
    tree = _parse(line)
    if problems := list(dict.fromkeys(_find_problems(tree))):
        raise PipelineError(_WHAT, problems, fix=_EXAMPLE)
    if engine is not None:
        check_engine(engine)
    opened = collection if isinstance(collection, Collection) else open_collection(collection)
    _check_models(tree)
    return Cascade.of(_Builder(opened, engine, verbose).make(tree))


def _parse(line: str) -> ast.expr:
    if not isinstance(line, str):
        raise PipelineError(_WHAT, [f"it is {line!r} ({type(line).__name__}), expected a line of text"], fix=_EXAMPLE)
    if line.count(">>") > _LONGEST:
        raise PipelineError(_WHAT, [f"it has {line.count('>>')} operators >>, expected at most {_LONGEST}"], fix=_EXAMPLE)
    try:
        return ast.parse(f"(\n{line}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = error.msg if isinstance(error, SyntaxError) else str(error) or "too long"
        raise PipelineError(_WHAT, [f"{line[:_SHOWN]!r}: {problem}"], fix=_EXAMPLE) from error


def _find_problems(node: ast.expr) -> list[str]:
    """List all problems of a line before anything is built."""
    match node:
        case ast.BinOp(left, ast.RShift(), right):
            return _find_problems(left) + _find_problems(right)
        case ast.BinOp(left, ast.Mod(), right):
            good = isinstance(right, ast.Constant) and type(right.value) is int and 0 < right.value <= NO_CUT
            problem = f"{ast.unparse(right)!r} is not a cut-off, expected a whole number of 1 or more"
            return ([] if good else [problem]) + _find_problems(left)
        case ast.Name(name):
            return _list_problems(name, [], {})
        case ast.Call(ast.Name(name), arguments, keywords):
            named = {keyword.arg or "**": keyword.value for keyword in keywords}
            problems = [f"{key}={ast.unparse(value)} is not a literal" for key, value in named.items() if not _is_literal(value)]
            for inner in arguments:
                if name == "hybrid" or (name == "cached" and isinstance(inner, (ast.Name, ast.Call))):
                    problems += _find_problems(inner)
                elif not _is_literal(inner):
                    problems.append(f"{ast.unparse(inner)!r} is not a literal{' or a stage' * (name == 'cached')}")
            return problems or _list_problems(name, list(arguments), named)
    return [f"{ast.unparse(node)!r} is not a stage; a line has stages, % and >>"]


def _list_problems(name: str, arguments: list[ast.expr], named: Mapping[str, ast.expr]) -> list[str]:
    """List the arguments that a stage does not take."""
    if name not in CATALOGUE:
        return [f"there is no stage {name!r}; pt-cascade stages lists them{did_you_mean(name, CATALOGUE)}"]
    signature = inspect.signature(CATALOGUE[name].make)
    given = dict.fromkeys(named)
    stored = _STORED.get(name)
    if stored in given:
        return [f"{name} takes its {stored} from the collection"]
    if stored and signature.parameters[stored].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        given[stored] = None
    try:
        signature.bind(*([None] * len(arguments)), **given)
        return _try(name, arguments, named)
    except TypeError as error:
        return [f"{name}: {error}"]


def _try(name: str, arguments: list[ast.expr], named: Mapping[str, ast.expr]) -> list[str]:
    """Make a stage that does not need the collection, to check its options; no model is loaded."""
    if name in _STORED or name == "cached":
        return []
    options = {key: ast.literal_eval(value) for key, value in named.items()}
    branches = [pt.Transformer.identity()] * (len(arguments) or len(_BRANCHES))
    try:
        CATALOGUE[name].make(*(branches if name == "hybrid" else map(ast.literal_eval, arguments)), **options)
    except CascadeError as error:
        return [": ".join([error.what, *error.problems])]
    return []


def _check_models(tree: ast.expr) -> None:
    """Find the models of a line before an index is built."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _MODELS:
            given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "model")]
            with naming(ast.unparse(node.func)):
                load_config(str(ast.literal_eval(given[0])))


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):
        return False
    return True


@dataclass(frozen=True)
class _Builder:
    """Makes the stages of a checked line; ``stored`` holds the collection's index and vectors."""

    collection: Collection
    engine: Engine | None
    verbose: bool
    stored: dict[str, Path] = field(default_factory=dict)

    def make(self, node: ast.expr, deep: int = 1) -> pt.Transformer:
        match node:
            case ast.BinOp(left, ast.RShift(), right):
                return self.make(left) >> self.make(right)
            case ast.BinOp(ast.Name() | ast.Call() as left, ast.Mod(), right):
                k = ast.literal_eval(right)
                return self.load_texts(self.stage(left, deep=k)) % k
            case ast.BinOp(left, ast.Mod(), right):
                return self.make(left) % ast.literal_eval(right)
        return self.load_texts(self.stage(node, deep))

    def stage(self, node: ast.expr, deep: int = 1) -> pt.Transformer:
        """Make one stage without its text loader; a retriever finds at least ``deep`` documents."""
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        name = ast.unparse(call.func)
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        arguments = [ast.literal_eval(one) if _is_literal(one) else self.inner(name, one, deep) for one in call.args]
        if name == "hybrid" and not arguments:
            arguments = [self.stage(ast.Name(branch), deep) for branch in _BRANCHES]
        if name in _BRANCHES:
            named.setdefault("num_results", max(_FOUND, deep))
        stored = _STORED.get(name)
        if stored and not (name == "late_interaction" and (arguments or "model" in named)):
            named[stored] = self.find(stored)
        made: pt.Transformer = CATALOGUE[name].make(*arguments, **named)
        return made

    def inner(self, name: str, node: ast.expr, deep: int) -> pt.Transformer:
        """Make an argument of another stage: a retriever for ``hybrid``, a stage without text loader for ``cached``."""
        return self.make(node, deep) if name == "hybrid" else self.stage(node)

    def find(self, what: str) -> Path:
        """Find or build the collection's index or vectors, once a line."""
        if what not in self.stored:
            self.stored[what] = (
                store_index(self.collection, engine=self.engine, verbose=self.verbose)
                if what == "index"
                else store_vectors(self.collection, verbose=self.verbose)
            )
        return self.stored[what]

    def load_texts(self, stage: pt.Transformer) -> pt.Transformer:
        """Add a text loader before a stage that reads texts."""
        reader = getattr(stage, "stands_for", stage)
        reads = isinstance(reader, Reranker) and "text" in reader.needs()
        return self.collection.text_loader() >> stage if reads else stage
