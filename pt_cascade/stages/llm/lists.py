"""An order of documents, read in what a language model answered: the numbers in the order they stand in.

A number in the words around a list, one that numbers the lines, and half a number where an answer was cut off name no document.
What is left is read as RankLLM reads it, so that the published answers give the published runs.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from pt_cascade.stages.llm.answers import Reading, name_faults, take_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGITS = 9  # a longer number names no document
_RANKING = re.compile(r"\s*\[[0-9]+\](?:\s*>\s*\[[0-9]+\])*\s*")
_ITEM = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9]+(?![0-9A-Za-z]|\.[0-9])")
_CHAIN = re.compile(r"(?<![0-9])[0-9]{1,9}\]?(?:[ \t>,;=\"'*]{1,9}\[?[0-9]{1,9}\]?)+")
_BRACKETED = re.compile(r"\[[0-9]|[0-9]\]")
_LINE = re.compile(r"[^\w\n\[]{0,9}(?:\b(?:rank|position|no)\W{0,3})?([0-9]{1,9})\W{0,3}?[.):\]-]", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(?<![0-9])\[?[0-9]+\Z")
_RANKLLM = re.compile(r"\s*[0-9.>\[\] ]+\s*")
_NAMED = re.compile(r"\[\s{0,3}[0-9][0-9,;>\s]*\]|\[[0-9]+|(?<![0-9])[0-9]{1,9}(?=\]|\s?>)|(?<=> )[0-9]{1,9}(?![0-9]|\W{0,3}\[)")
"""What names documents where brackets do: numbers in brackets, one of them missing perhaps, or between signs of order."""
_IDS = (re.compile(r"id(?:entifier)?\Z", re.IGNORECASE), re.compile("doc|passage|number|index", re.IGNORECASE))
_LABEL = re.compile(r"\W{0,9}(?:[a-z]{1,20}[\W_]{0,3})?[0-9]+\W{0,9}", re.IGNORECASE)
_MEASURE = re.compile(
    r"(?:rank|order|score)(?!e?d)|position|grade|relevance|rating|confiden|prob|count|length|reason|expl", re.IGNORECASE
)


def read_ranking(text: str, n: int) -> Reading[tuple[int, ...]]:
    """Read an order of n documents as RankLLM does: every number counts where it first stands; the rest follows in its old order.

    Returns:
        Positions in the old order, counted from 0, best first: a permutation of 0 ... n - 1, whatever the text.

    References:
        Sun et al., "Is ChatGPT Good at Search? Investigating Large Language Models as Re-Ranking Agents", EMNLP 2023.

    Example:
        >>> reading = read_ranking("Sure: [3] > [1] > [3]", 4)
        >>> reading.value, sorted(reading.faults)
        ((2, 0, 1, 3), ['malformed', 'partial', 'repeated'])
    """
    said = take_answer(text) or ""
    return _order([_to_int(word) for word in re.findall("[0-9]+", said)], n, formed=_RANKING.fullmatch(said) is not None)


def read_list(text: str, n: int, *, cut: bool = False) -> Reading[tuple[int, ...]]:
    r"""Read an order as ``read_ranking`` does, from the numbers that can be meant for documents.

    An answer is unread where none can, where it was cut off before it named all documents, and where it is no list and names no
    more than half of them, as in "20 passages are provided".

    Example:
        >>> read_list("The 3 documents: [2] > [1]", 3).value, read_list("1. [3]\n2. [1]", 3).value, read_list("[3] > [1", 3).value
        ((1, 0, 2), (2, 0, 1), (2, 0, 1))
    """
    whole = take_answer(text) or ""
    said = _LAST_NUMBER.sub("", whole) if cut else whole
    given = _read_json(said)
    numbers = _find_numbers(said, n) if given is None else given
    reading = _order(numbers, n, formed=_RANKING.fullmatch(said) is not None)
    listed = given is not None or _BRACKETED.search(said) or _CHAIN.search(said)
    named = {number for number in numbers if 1 <= number <= n}
    unread = (cut and len(named) < n) or (not listed and len(named) <= n / 2)
    return Reading(reading.value, reading.faults | name_faults({"malformed": unread, "unread": unread, "overlong": cut}))


def _order(numbers: Sequence[int], n: int, *, formed: bool) -> Reading[tuple[int, ...]]:
    """Put the numbered documents first."""
    named = [number - 1 for number in numbers if 1 <= number <= n]
    order = list(dict.fromkeys(named))
    missing = sorted(set(range(n)) - set(order))
    faults = {
        "malformed": not formed or len(named) < len(numbers),
        "unread": not named,
        "partial": bool(named and missing),
        "repeated": len(order) < len(named),
    }
    return Reading((*order, *missing), name_faults(faults))


def _find_numbers(said: str, n: int) -> list[int]:
    """Find the numbers that can be meant for documents.

    Where some are in brackets, all others are passed over, but not in an answer of RankLLM's own signs, nor where the first texts
    are said again, each with its number. Where every second number counts 1, 2, 3, and no order can be meant by that, or only those
    have a mark behind, they number the others.
    """
    lines, listed = _read_lines(said), _BRACKETED.search(said)
    named = [_to_int(word) for group in _NAMED.findall(said) for word in re.findall("[0-9]+", group)]
    again = named == list(range(1, len(named) + 1)) and len(named) <= n / 2
    if lines is not None or (listed and not again and not _RANKLLM.fullmatch(said)):
        return named if lines is None else lines
    ends = [at for chain in _CHAIN.finditer(said) for at in chain.span()]
    found = _ITEM.finditer(said)
    items = [item for item in found if bisect_right(ends, item.start()) % 2 or not ends or not _is_in_words(said, item)]
    numbers = [_to_int(item[0]) for item in items]
    marked = [said[item.end() : item.end() + 1] in (".", ")", ":") for item in items]
    apart = not listed and (len(set(numbers)) < len(numbers) or (all(marked[::2]) and not all(marked[1::2])))
    return numbers[1::2] if apart and numbers[::2] == list(range(1, len(numbers[::2]) + 1)) else numbers


def _read_lines(said: str) -> list[int] | None:
    """Find the document that each line names; None where lines are not numbered."""
    lines = [(mark, line) for line in said.splitlines() if (mark := _LINE.match(line))]
    if len(lines) < 2 or [_to_int(mark[1]) for mark, _ in lines] != list(range(1, len(lines) + 1)):  # noqa: PLR2004
        return None
    return [number for mark, line in lines for number in _find_first(line[mark.end() :])]


def _find_first(said: str) -> list[int]:
    """Find the first number, in brackets if there are such."""
    return [_to_int(word) for word in (re.findall(r"\[([0-9]+)", said) or _ITEM.findall(said))[:1]]


def _is_in_words(said: str, item: re.Match[str]) -> bool:
    """Tell whether a number without brackets stands next to a word, as in "the top 3 documents"."""
    before, after = said[max(item.start() - 3, 0) : item.start()].rstrip(" \t(-"), said[item.end() : item.end() + 3].lstrip(" \t")
    return before[-1:] != "[" and after[:1] != "]" and (before[-1:].isalpha() or after[:1].isalpha())


def _read_json(said: str) -> list[int] | None:
    """Read a list of numbers, or of objects with an id each, alone or as the one list of an object; None for what is no JSON."""
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = lists[0] if len(lists) == 1 else []
    if not isinstance(value, list):
        return None
    lines = _read_lines("\n".join(value)) if all(isinstance(item, str) for item in value) else None
    return [number for item in value for number in _find_id(item)] if lines is None else lines


def _find_id(item: object) -> list[int]:
    """Find the document's number in one item of a list: of an object, under the name of an id, else of a document."""
    if not isinstance(item, dict):
        return _find_first(str(item)) if type(item) in (int, str) else []
    plain = {name: str(value) for name, value in item.items() if type(value) in (int, str)}
    names = [name for name, value in plain.items() if not _MEASURE.search(name) and _LABEL.fullmatch(value)]
    ways = ({number for name in names if way.search(name) for number in _find_id(item[name])} for way in _IDS)
    numbers = next(filter(None, ways), set())
    return list(numbers) if len(numbers) == 1 else []


def _to_int(word: str) -> int:
    return int(word) if len(word) <= _DIGITS else 0
