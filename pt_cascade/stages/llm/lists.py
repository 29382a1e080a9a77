"""Reads an order of documents in the answer of a language model: the document numbers in the order in which they appear.

Numbers in the text around a list, line numbers, and half a number at a cut name no document. The other numbers are read as
RankLLM reads them, so that the published answers give the published runs.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right

from pt_cascade.stages.llm.answers import Reading, name_faults, take_answer

_DIGITS = 9  # a longer number names no document
_RANKING = re.compile(r"\s*\[[0-9]+\](?:\s*>\s*\[[0-9]+\])*\s*")
_ITEM = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9]+(?![0-9A-Za-z]|\.[0-9])")
_CHAIN = re.compile(r"(?<![0-9])[0-9]{1,9}\]?(?:[ \t>,;=\"'*]{1,9}\[?[0-9]{1,9}\]?)+")
_BRACKETED = re.compile(r"\[[0-9]|[0-9]\]")
_LINE = re.compile(r"[^\w\n\[]{0,9}(?:\b(?:rank|position|no)\W{0,3})?([0-9]{1,9})\W{0,3}?[.):\]-]", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(?<![0-9])\[?[0-9]+\Z")
_RANKLLM = re.compile(r"\s*[0-9.>\[\] ]+\s*")
_NAMED = re.compile(r"\[\s{0,3}[0-9][0-9,;>\s]*\]|\[[0-9]+|(?<![0-9])[0-9]{1,9}(?=\]|\s?>)|(?<=> )[0-9]{1,9}(?![0-9]|\W{0,3}\[)")
"""Numbers of documents in an answer with brackets: in brackets, of which one may be missing, or beside ``>``."""
_LISTED = re.compile(r"\W{0,3}[0-9]+\W{0,3}")  # an item of a list in JSON


def read_list(text: str, n: int, *, cut: bool = False) -> Reading:
    """Read an order of n documents as RankLLM (Sun et al., EMNLP 2023): each number counts at its first place, the rest follows.

    The order has the places in the input, best first: always a permutation of 0 ... n - 1. An answer is unread, with the value NaN,
    if it names no document, if it was cut off before it named all, or if it is no list and names at most half of the documents, as
    in "20 passages are provided".
    """
    whole = take_answer(text) or ""
    answer = _LAST_NUMBER.sub("", whole) if cut else whole
    given = _read_json(answer)
    numbers = _find_numbers(answer, n) if given is None else given
    named = [number - 1 for number in numbers if 1 <= number <= n]
    order = list(dict.fromkeys(named))
    missing = sorted(set(range(n)) - set(order))
    is_list = given is not None or _BRACKETED.search(answer) or _CHAIN.search(answer)
    unread = not named or (cut and bool(missing)) or (not is_list and len(order) <= n / 2)
    malformed = unread or not _RANKING.fullmatch(answer) or len(named) < len(numbers)
    partial, repeated = bool(named and missing), len(order) < len(named)
    faults = name_faults(malformed=malformed, unread=unread, partial=partial, repeated=repeated, overlong=cut)
    return Reading(math.nan if unread else 1.0, faults, (*order, *missing))


def _find_numbers(answer: str, n: int) -> list[int]:
    """Find the numbers that name documents.

    If some are in brackets, the others do not count, except in an answer of RankLLM's own characters, and where the brackets repeat
    the numbers of the first documents, 1, 2, 3. If every second number counts 1, 2, 3, and this cannot be an order, or only these
    numbers have a mark behind them, they are line numbers.
    """
    lines, bracketed = _read_lines(answer), _BRACKETED.search(answer)
    named = [_to_int(word) for group in _NAMED.findall(answer) for word in re.findall("[0-9]+", group)]
    copied = named == list(range(1, len(named) + 1)) and len(named) <= n / 2
    if lines is not None or (bracketed and not copied and not _RANKLLM.fullmatch(answer)):
        return named if lines is None else lines
    ends = [at for chain in _CHAIN.finditer(answer) for at in chain.span()]
    found = _ITEM.finditer(answer)
    items = [item for item in found if bisect_right(ends, item.start()) % 2 or not ends or not _is_in_words(answer, item)]
    numbers = [_to_int(item[0]) for item in items]
    marked = [answer[item.end() : item.end() + 1] in (".", ")", ":") for item in items]
    paired = not bracketed and (len(set(numbers)) < len(numbers) or (all(marked[::2]) and not all(marked[1::2])))
    return numbers[1::2] if paired and numbers[::2] == list(range(1, len(numbers[::2]) + 1)) else numbers


def _read_lines(answer: str) -> list[int] | None:
    """Find the document that each line names; None where the lines are not numbered."""
    lines = [(mark, line) for line in answer.splitlines() if (mark := _LINE.match(line))]
    if len(lines) < 2 or [_to_int(mark[1]) for mark, _ in lines] != list(range(1, len(lines) + 1)):  # noqa: PLR2004
        return None
    return [number for mark, line in lines for number in _find_first(line[mark.end() :])]


def _find_first(line: str) -> list[int]:
    """Find the first number in brackets, else the first number."""
    return [_to_int(word) for word in (re.findall(r"\[([0-9]+)", line) or _ITEM.findall(line))[:1]]


def _is_in_words(answer: str, item: re.Match[str]) -> bool:
    """Tell whether a number without brackets stands next to a word, as in "the top 3 documents"."""
    before, after = answer[max(item.start() - 3, 0) : item.start()].rstrip(" \t(-"), answer[item.end() :][:3].lstrip(" \t")
    return before[-1:] != "[" and after[:1] != "]" and (before[-1:].isalpha() or after[:1].isalpha())


def _read_json(answer: str) -> list[int] | None:
    """Read a list of numbers, alone or as the only list of an object; None if it is not JSON, empty if it is another value."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = lists[0] if len(lists) == 1 else []
    if not isinstance(value, list):
        return None
    items = [str(item) if type(item) in (int, str) else "" for item in value]
    return [number for item in items for number in _find_first(item)] if all(map(_LISTED.fullmatch, items)) else []


def _to_int(word: str) -> int:
    return int(word) if len(word) <= _DIGITS else 0
