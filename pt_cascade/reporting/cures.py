"""Messages for a person at a command line, with options in place of Python."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_VALUE = r"""("[^"]*"|'[^']*'|[\w.]+)"""
# what a message advises in Python, and the options that do the same
_CALLS = (
    (rf"open_collection\({_VALUE}\)( again)?", r"--collection \1"),
    (r"parse_cascade\((\".*\"), '.*'\)", r"--cascade \1"),
    (r"ScoreTable\.from_runs\(\{.*\}.*\)", "--runs bm25=bm25.res.gz t5=t5.res.gz"),
    (r"or ScoreTable\.from_runs\(runs, topics\), ", ""),
    (r"build_index\(docs, path, (.*?)\); for a folder:", r"for a collection in a folder:"),
    (rf"StageCost\({_VALUE}, per_pair_ms=\.\.\.\)", r"--costs \1=MS for each stage but the first"),
    (r"sweep\(table, qrels, .*?, cost=timings\.cost\(\)\)", "--timings FILE or --costs STAGE=MS"),
    (r"grid\(\[10, 100, 1000\], \[10, 100\]\)", "--k1 10,100,1000 --k2 10,100"),
    (r'\["nDCG@10", "R@100"\]', "--measures nDCG@10 R@100"),
    (r"the same call of \w+, or the same command, (goes on|continues) from there", "the same command goes on"),
    (r'resources=\{"mono_t5": \{"num_gpus": 1\}\}', "--resources mono_t5=num_gpus:1"),
    (r"percentile=None", "--percentile 0"),
    (r"fresh=True", "--fresh"),
    (r"prefixes=\['all'\]", "--prefixes all"),
    (r"timings\.save\(path\), or ", ""),
    (r"pass the folder that table\.save wrote to ScoreTable\.load", "pt-cascade score --collection pydocs --out scores"),
)


def translate(message: str, options: Collection[str]) -> str:
    """Return a message with the keyword arguments that are options of the command as options; other Python is named so."""
    for python, option in _CALLS:
        message = re.sub(python, option, message)
    if "measure" in options:
        message = message.replace("--measures nDCG@10 R@100", "--measure nDCG@10")
    message = re.sub(rf"(?<![\w./'\"-])(\w+)={_VALUE}", lambda found: _option(found, options), message)
    message = re.sub(r"(?<![\w./'\"=-])[a-z]+(_[a-z]+)+\b", lambda found: _option(found, options), message)
    said, mark, fix = message.rpartition("Fix: ")
    return f"{said}Fix, in Python: {fix}" if mark and _is_python(fix) else message


def _option(found: re.Match[str], options: Collection[str]) -> str:
    name, *value = found[0].split("=", 1)
    return " ".join([f"--{name.replace('_', '-')}", *value]) if name in options and len(name) > len("k1") else found[0]


def _is_python(fix: str) -> bool:
    try:
        return any(isinstance(node, ast.Call | ast.Assign) for node in ast.walk(ast.parse(fix)))
    except SyntaxError:
        return False
