"""The fusion at the end of a line: ``bm25 % 1000 >> bi_encoder >> fused(bm25=0.4, bi_encoder=0.6) % 20``."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from pt_cascade.analysis.fusion.stage_fusion import StageFusion
from pt_cascade.errors import CascadeError

if TYPE_CHECKING:
    from pt_cascade.cascade import Cascade

_FUSED = "fused"
_OPTIONS = ("method", "normalise", "k")


def split_fusion(tree: ast.expr) -> tuple[ast.expr, ast.expr | None]:
    """Return the stages of a line, and ``fused(...)`` with its cut-off if the line ends in one."""
    match tree:
        case ast.BinOp(left, ast.RShift(), right) if _is_fused(_split_cutoffs(right)[0]):
            return left, right
    return tree, None


def find_fusion_problems(tree: ast.expr) -> list[str]:
    """List what is wrong with the fusion of a line, but for the names of its stages."""
    stages, end = split_fusion(tree)
    fused = None if end is None else _split_cutoffs(end)[0]
    problems = [
        f"{ast.unparse(node)!r} is not the end of the line, after two stages or more"
        for node in ast.walk(tree)
        if _is_fused(node) and node is not fused
    ]
    if not isinstance(fused, ast.Call):
        return problems
    last = stages.right if isinstance(stages, ast.BinOp) and isinstance(stages.op, ast.RShift) else stages
    stage, cutoffs = _split_cutoffs(last)
    if last is stages:
        problems.append(f"{ast.unparse(stages)!r} is one stage, and a fusion is of two or more: leave {ast.unparse(fused)} out")
    elif cutoffs:
        found, k = ast.unparse(last), ast.unparse(cutoffs[0])
        problems.append(f"{found!r} is cut before it is fused; the cut-off comes last: {ast.unparse(stage)} >> fused(...) % {k}")
    try:
        _read_fusion(fused)
    except CascadeError as error:
        problems.append(": ".join([error.what, *error.problems]))
    except (ValueError, TypeError, SyntaxError):
        problems.append(
            f"{ast.unparse(fused)!r} needs the names of stages, each once and with a number, as in fused(bm25=0.4, bi_encoder=0.6)"
        )
    return problems


def apply_fusion(cascade: Cascade, end: ast.expr) -> Cascade:
    """Return a cascade that ends in a fusion and its cut-off."""
    fused, cutoffs = _split_cutoffs(end)
    least = min((int(ast.literal_eval(k)) for k in cutoffs), default=None)
    return replace(cascade, fusion=_read_fusion(fused)).with_cutoffs(**{cascade[-1].name: least})


def _split_cutoffs(node: ast.expr) -> tuple[ast.expr, list[ast.expr]]:
    """Return a stage without the cut-offs after it, and the cut-offs."""
    match node:
        case ast.BinOp(left, ast.Mod(), right):
            stage, cutoffs = _split_cutoffs(left)
            return stage, [*cutoffs, right]
    return node, []


def _is_fused(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == _FUSED


def _read_fusion(fused: ast.expr) -> StageFusion:
    """Read ``fused(<stage>=<weight>, ..., method=...)``; a ValueError if it is not of this form."""
    keywords = fused.keywords if isinstance(fused, ast.Call) and not fused.args else []
    weights = {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords if keyword.arg}
    if not weights or len(weights) < len(keywords):
        raise ValueError
    options = {name: weights.pop(name) for name in _OPTIONS if name in weights}
    return StageFusion(weights, **options)
