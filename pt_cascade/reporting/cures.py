"""Messages for a person at a command line: options in place of Python, and their own names in each cure."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

_VALUE = r"""("[^"]*"|'[^']*'|[\w.]+)"""
# what a message advises in Python, and the options that do the same
_CALLS = (
    (rf"open_collection\({_VALUE}\)( again)?", r"--collection \1"),
    (r"parse_cascade\((\".*\"|'.*'), '.*'\)", r"--cascade \1"),
    (r"e\.g\. bm25\(index\) % 100 >> stage", "e.g. --cascade 'bm25 % 100 >> late_interaction % 10'"),
    (r"ScoreTable\.from_runs\(\{.*\}.*\)", "--runs bm25=bm25.res.gz t5=t5.res.gz"),
    (r"or ScoreTable\.from_runs\(runs, topics\), ", ""),
    (r"build_index\(docs, path, (.*?)\); for a folder:", r"for a collection in a folder:"),
    (r", and (score|build_vectors|build_index) again", ", and the same command again"),
    (rf"StageCost\({_VALUE}, per_pair_ms=\.\.\.\)", r"--costs \1=MS for each stage but the first"),
    (r"sweep\(table, qrels, .*?, cost=timings\.cost\(\)\)", "--timings FILE or --costs STAGE=MS"),
    (r"grid\(\[10, 100, 1000\], \[10, 100\]\)", "--k1 10,100,1000 --k2 10,100"),
    (r"fusions\(\[.*\], 0\.1\)", "--weights 0.1"),
    (r"\bstep is ", "--weights is "),
    (r"there is no axis (k\d)\b", r"there is no option --\1"),
    (r'ScoreTable\.from_runs\(\.\.\., missing="last"\), which', "pt-cascade score with --missing last, which"),
    (r'\["nDCG@10", "R@100"\]', "--measures nDCG@10 R@100"),
    (r"the same call of \w+, or the same command, (goes on|continues) from there", "the same command goes on"),
    (r'resources=\{"(\w+)": \{"num_gpus": 1\}\}', r"--resources \1=num_gpus:1"),
    (r", such as StageCost\(usd_per_pair=\.\.\.\)", ""),
    (r"\bNone for (the mean|no cut)", lambda found: f"{'0' if found[1] == 'the mean' else 'none'} for {found[1]}"),
    (r"percentile=None", "--percentile 0"),
    (r"fresh=True", "--fresh"),
    (r"prefixes=\['all'\]", "--prefixes all"),
    (r"timings\.save\(path\), or ", ""),
    (r"pass the folder that table\.save wrote to ScoreTable\.load", "pt-cascade score --collection pydocs --out scores"),
)
_ARGUMENTS = dict.fromkeys(("bm25", "dense", "hybrid", "bi_encoder", "late_interaction"), "")  # of stages in a line
_ARGUMENTS |= dict.fromkeys(("cross_encoder", "mono_t5", "duo_t5", "llm_judge"), "('MODEL')")
_PYTHON = re.compile(r"[\w\]]\(|\w\[|\w = |\bbuild_")  # a call, an index, an assignment, a function
_TYPED = re.compile(
    r"(?:^|(?<=: )|(?<=  - )|(?<=, and ))([a-z]+)(?= is (?:[-\d'\"]|None|nan|inf)[^\n]*(?:, expected |, but |; ))", re.MULTILINE
)
_UNCOVERED = re.compile(
    r"(\w+(?: → \w+)*)( at \((?:.*, )?(\w+),?\) needs .*)score\(cascade, topics(?:, depths=\(([^()]*)\)\)|\), with .*)", re.DOTALL
)
_COLLECTION = re.compile(r"--collection ('[^']*'|\S+)")
_FUSED = re.compile(r"(?:cascade|Cascade\.of\(.*?\))\.fused\((\{.*?\})\)")
_OPTION = re.compile(r"(\w+)\((?:model|vectors|stage|\.\.\.), (\w+)=([^()]+)\)")


def translate(message: str, options: Mapping[str, object]) -> str:
    """Return a message with options of the command in place of Python; a cure that is Python alone is left out."""
    message = _UNCOVERED.sub(_deepen, message)
    for python, option in _CALLS:
        message = re.sub(python, option, message)
    if "measure" in options and ("measures" not in options or repr(options["measure"]) in message):
        message = message.replace("--measures nDCG@10 R@100", "--measure nDCG@10")
    said, mark, fix = message.rpartition("Fix: ")
    cure = _translate_fix(fix, options) if mark else fix
    message = f"{said}{mark}{cure}" if cure else said.rstrip().removesuffix(".")
    message = _TYPED.sub(lambda found: _option(found, options), message)
    message = re.sub(rf"(?<![\w./'\"-])(\w+)={_VALUE}", lambda found: _option(found, options), message)
    message = re.sub(r"(?<![\w./'\"=-])[a-z]+(_[a-z]+)+\b", lambda found: _option(found, options), message)
    message = re.sub(r"(--[a-z-]+ is .*), or None\b", r"\1", message)
    message = re.sub(r"(--[a-z-]+ \S+), (?=--)", r"\1 ", message)
    if options.get("command") == "experiment":
        return message.replace("--collection ", "collection: ")  # a key of the file
    return _retype(message, options) if options.get("command") == "run" else message


def _option(found: re.Match[str], options: Mapping[str, object]) -> str:
    name, *value = found[0].split("=", 1)
    return " ".join([f"--{name.replace('_', '-')}", *value]) if name in options and len(name) > len("k1") else found[0]


def _deepen(found: re.Match[str]) -> str:
    """Give the command that scores what some cut-offs need; a stage of another cascade than of a line has no command."""
    stages, said, last, depths = found[1].split(" → "), found[2], found[3], re.findall(r"\w+", found[4] or "")
    if not {*stages} <= {*_ARGUMENTS}:
        return found[0]
    cuts = ["" if k == "None" else f" → {k}" for k in (*depths, last)]
    line = " · ".join(f"{name}{_ARGUMENTS[name]}{cut}" for name, cut in zip(stages, cuts, strict=True))
    return f"{found[1]}{said}pt-cascade score --collection pydocs --cascade {_quote(line)} --out scores"


def _translate_fix(fix: str, options: Mapping[str, object]) -> str:
    """Keep those of several cures that are no Python."""
    line = str(options.get("cascade") or "")
    fix = _FUSED.sub(lambda found: _fuse(ast.literal_eval(found[1]), line, options), fix)
    fix = re.sub(r"reference=\(([\w, ]+?),?\)", lambda found: f"--reference {found[1].replace(' ', '').lower()}", fix)
    fix = _OPTION.sub(lambda found: _set_option(found, line), fix)
    cures = re.split(r"[,;] or |; ", fix) if _PYTHON.search(fix) else [fix]
    kept = [cure for cure in cures if cure.startswith(("--", "pt-cascade")) or not _PYTHON.search(cure)]
    return _name_own(", or ".join(kept), options)


def _fuse(weights: dict[str, float], line: str, options: Mapping[str, object]) -> str:
    """Give the option that fuses by some weights, in the line that was typed, if it was."""
    if "fused" in options:
        return " ".join(["--fused", *(f"{name}={weight:g}" for name, weight in weights.items())])
    fused = f"fused({', '.join(f'{name}={weight:g}' for name, weight in weights.items())})"
    return f"--cascade {_quote(re.sub(r'fused[(][^()]*[)]', fused, line))}" if "fused(" in line else ""


def _set_option(found: re.Match[str], line: str) -> str:
    """Give the line that was typed with an option of one of its stages."""
    stage, name, value = found.groups()
    call = re.search(rf"\b{stage}\(([^()]*)\)", line)
    if call is None or "..." in value:
        return found[0]
    others = re.sub(rf",\s*{name}=[^,()]*", "", call[1])
    return f"--cascade {_quote(line.replace(call[0], f'{stage}({others}, {name}={value})'))}"


def _quote(line: str) -> str:
    """Quote a cascade, whose texts are in single quotes, for a shell."""
    return f'"{line}"' if "'" in line and not re.search(r'["$`\\!]', line) else shlex.quote(line)


def _retype(message: str, options: Mapping[str, object]) -> str:
    """Give the command that was typed, whose cascade is no option, with another cascade."""
    typed = shlex.join(["pt-cascade", *cast("list[str]", options["words"])])
    own = shlex.quote(str(options["cascade"]))
    return re.sub(r"--cascade ('[^']*'|\"[^\"]*\")", lambda found: typed.replace(own, found[1], 1), message)


def _name_own(fix: str, options: Mapping[str, object]) -> str:
    """Put the collection and paths that were typed in the place of the examples; an output has a new path."""
    if not fix.startswith("pt-cascade"):
        return fix
    if typed := options.get("collection") or options.get("scored"):
        fix = _COLLECTION.sub(lambda _: f"--collection {shlex.quote(str(typed))}", fix)
    for name, option in (("scores", "table"), ("timings", "timings")):
        path = str(options.get(option) or "").rstrip("/")
        if Path(path).name:
            fix = fix.replace(f"--out {name}", f"--out {shlex.quote(path + '-new' * Path(path).exists())}")
    return fix
