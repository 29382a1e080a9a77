"""Builds a cascade over a collection from one line with the names of its stages and their cut-offs."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.cascade import Cascade
from pt_cascade.collections import Collection, open_collection
from pt_cascade.errors import CascadeError, PipelineError, did_you_mean, naming
from pt_cascade.execution.defaults import load_texts, store_index, store_vectors
from pt_cascade.execution.line_fusion import apply_fusion, find_fusion_problems, split_fusion
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.catalogue import CATALOGUE
from pt_cascade.stages.indexing.engines import check_engine
from pt_cascade.stages.inference.loading import load_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pt_cascade.stages.indexing.engines import Engine

_WHAT = "this line is not a cascade"
_EXAMPLE = "parse_cascade('bm25 % 1000 >> bi_encoder % 100 >> late_interaction % 20', 'pydocs')"
_STORED = {"bm25": "index", "bi_encoder": "vectors", "dense": "vectors", "late_interaction": "vectors"}
_BRANCHES = ("bm25", "dense")  # of ``hybrid`` without arguments
_MODELS = ("cross_encoder", "mono_t5", "duo_t5")
_HOLDS = {"hybrid": ("",), "cached": ("",), "passages": ("", "first")}  # arguments that are stages; without a name: by position
_SIGNS = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|→|·""")  # a text in quotes stays as it is
_FOUND, _SHOWN, _MOST_PARTS = 1000, 200, 1000


def parse_cascade(
    line: str, collection: str | Path | Collection, *, engine: Engine | None = None, verbose: bool = False
) -> Cascade:
    """Build a cascade over a collection from one line in PyTerrier's notation.

    Stages have the names and arguments of ``pt-cascade stages``, without index, vectors and texts, which come from the collection.
    A retriever finds 1000 documents, or more if its cut-off is larger.

    Args:
        line: E.g. ``hybrid(bm25, dense) % 500 >> cross_encoder("cross-encoder/ms-marco-MiniLM-L6-v2") % 30``. ``hybrid`` alone is
            ``hybrid(bm25, dense)``. It may end in a fusion of its stages, see ``Cascade.fused``:
            ``bm25 % 1000 >> bi_encoder >> fused(bm25=0.4, bi_encoder=0.6) % 20``.
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
        Fix: parse_cascade('bm25 % 1000 >> bi_encoder % 100 >> late_interaction % 20', 'pydocs')
    """
    tree = check_line(line)
    if engine is not None:
        check_engine(engine)
    opened = collection if isinstance(collection, Collection) else open_collection(collection)
    for node in ast.walk(tree):  # a missing model is an error before the index is built
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in _MODELS:
            given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "model")]
            with naming(name):
                load_config(str(ast.literal_eval(given[0])))
    stages, end = split_fusion(tree)
    cascade = Cascade.of(_Builder(opened, engine, verbose).make(stages))
    return cascade if end is None else apply_fusion(cascade, end)


def check_line(line: str) -> ast.expr:
    """Parse a line of ``parse_cascade``, or raise one error with all its problems; nothing is built."""
    if not isinstance(line, str):
        raise PipelineError(_WHAT, [f"it is {line!r} ({type(line).__name__}), expected a line of text"], fix=_EXAMPLE)
    if not line.strip():
        raise PipelineError(_WHAT, ["it is empty"], fix=_EXAMPLE)
    line = _SIGNS.sub(lambda found: {"→": "%", "·": ">>"}.get(found[0], found[0]), line)  # as a cascade is shown
    try:
        tree = ast.parse(f"(\n{line}\n)", mode="eval").body
        parts = sum(isinstance(node, ast.expr) for node in ast.walk(tree))
        many = [f"it has {parts} names, numbers and operators, expected at most {_MOST_PARTS}"] if parts > _MOST_PARTS else []
        problems = many or list(dict.fromkeys([*_find_problems(tree), *find_fusion_problems(tree)]))
    except (SyntaxError, ValueError) as error:
        found = error.msg if isinstance(error, SyntaxError) else str(error)
        problems = [f"{line[:_SHOWN]!r}: {found.partition(' (detected at line')[0]}"]
    except (RecursionError, MemoryError):
        problems = [f"{line[:_SHOWN]!r}: its operators or parentheses are nested too deeply"]
    if problems:
        raise PipelineError(_WHAT, problems, fix=_EXAMPLE)
    return tree


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
        case ast.Call(ast.Name("fused")):  # see find_fusion_problems
            return []
        case ast.Call(ast.Name(name), arguments, keywords):
            named = {keyword.arg or "**": keyword.value for keyword in keywords}
            inside = [value for key, value in named.items() if _is_stage(name, key, value)]
            problems = [f"{key}={_quote(value)}" for key, value in named.items() if not (value in inside or _is_literal(value))]
            keys = [keyword.arg for keyword in keywords]
            problems += [f"{name}: {key} is given {keys.count(key)} times" for key in named if keys.count(key) > 1]
            for inner in [*arguments, *inside]:
                if inner in inside or _is_stage(name, "", inner):
                    problems += _find_problems(inner)
                elif not _is_literal(inner):
                    problems.append(f"{_quote(inner)}{' or a stage' * (name in _HOLDS)}")
            return problems or _list_problems(name, arguments, named)
    return [f"{ast.unparse(node)!r} is not a stage; a line has stages, % and >>"]


def _quote(value: ast.expr) -> str:
    """Say that a value is not a literal, and how a word is written as text."""
    text = ast.unparse(value)
    word = text.replace(" ", "")  # a model's name, org/model-base, is read as a sum
    return f"{text} is not a literal" + f" (text is written with quotes: {word!r})" * bool(re.fullmatch(r"[\w./-]+", word))


def _list_problems(name: str, arguments: list[ast.expr], named: Mapping[str, ast.expr]) -> list[str]:
    """List what is wrong with a stage's arguments; one that needs no collection is made for that, without its model."""
    if name not in CATALOGUE:
        return [f"there is no stage {name!r}; pt-cascade stages lists them{did_you_mean(name, CATALOGUE)}"]
    make, stored = CATALOGUE[name].make, _STORED.get(name)
    if stored in named:
        return [f"{name} takes its {stored} from the collection"]
    signature, given = inspect.signature(make), dict(named)
    if stored and signature.parameters[stored].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        given[stored] = ast.Constant(None)
    try:
        signature.bind(*arguments, **given)
        if stored is None and name != "cached":
            branches = [ast.Name(branch) for branch in _BRANCHES if name == "hybrid" and not arguments]
            options = {key: _stand_in(name, key, value) for key, value in named.items()}
            make(*(_stand_in(name, "", value) for value in [*branches, *arguments]), **options)
    except CascadeError as error:
        return [": ".join([error.what, *error.problems])]
    except TypeError as error:
        return [f"{name}: {error}"]
    return []


def _is_stage(name: str, key: str, value: ast.expr) -> bool:
    """Tell whether an argument of a stage, by its keyword or "" for its position, is another stage."""
    return key in _HOLDS.get(name, ()) and (name == "hybrid" or isinstance(value, (ast.Name, ast.Call)))


def _stand_in(name: str, key: str, value: ast.expr) -> object:
    """Give the value of an argument, and for a stage one that does nothing."""
    return pt.Transformer.identity() if _is_stage(name, key, value) else ast.literal_eval(value)


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):
        return False
    return True


@dataclass(frozen=True)
class _Builder:
    """Makes the stages of a checked line."""

    collection: Collection
    engine: Engine | None
    verbose: bool

    def make(self, node: ast.expr, deep: int = 1) -> pt.Transformer:
        """Make a pipeline with text loaders; its retriever finds at least ``deep`` documents."""
        match node:
            case ast.BinOp(left, ast.RShift(), right):
                return self.make(left) >> self.make(right)
            case ast.BinOp(left, ast.Mod(), ast.Constant(int(k))):
                return self.make(left, k) % k
        stage = self.stage(node, deep)
        reader = getattr(stage, "stands_for", stage)
        reads_text = isinstance(reader, Reranker) and "text" in reader.needs()
        return load_texts(self.collection, verbose=self.verbose) >> stage if reads_text else stage

    def stage(self, node: ast.expr, deep: int) -> pt.Transformer:
        """Make one stage without its text loader."""
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        name = ast.unparse(call.func)
        make = self.make if name == "hybrid" else self.stage

        def read(value: ast.expr) -> object:
            return ast.literal_eval(value) if _is_literal(value) else make(value, deep)

        named = {str(keyword.arg): read(keyword.value) for keyword in call.keywords}
        arguments = [read(value) for value in call.args]
        if name == "hybrid" and not arguments:
            arguments = [self.stage(ast.Name(branch), deep) for branch in _BRANCHES]
        if name in _BRANCHES:
            named.setdefault("num_results", max(_FOUND, deep))
        stored = _STORED.get(name)
        if stored == "index":
            named[stored] = store_index(self.collection, engine=self.engine, verbose=self.verbose)
        elif stored and not (name == "late_interaction" and (arguments or "model" in named)):
            named[stored] = store_vectors(self.collection, verbose=self.verbose)
        made: pt.Transformer = CATALOGUE[name].make(*arguments, **named)
        return made
