"""What a language model answered, read by stated rules: an order, a grade, or how sure its yes is.

Any text can be read. What had to be repaired is named, so that it can be counted:

- ``malformed``: it is not in the form that was asked for, whatever was read in it;
- ``unread``: nothing was found in it;
- ``partial``: an order that leaves documents out;
- ``repeated``: an order that names a document twice;
- ``bare``: a yes or no without log-probabilities, which is no fault of the answer.

What stands before ``</think>`` is thought, not answer, and so is all that follows a ``<think>`` that does not end.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
Listed: TypeAlias = "tuple[tuple[str, float], ...]"
"""Tokens that might have stood at one place of an answer, each with its log-probability, finite; the one that does comes first."""

SURE = 100.0  # log-odds of a yes that no log-probability comes with, and the limit of those that have one
_DIGITS = 9  # a longer number names no document
_RANKING = re.compile(r"\s*\[[0-9]+\](?:\s*>\s*\[[0-9]+\])*\s*")
_GRADE = re.compile(r"\s*[0-9]+\s*")
_LIST = re.compile(r"\[[0-9]{1,9}\](?:\s*>\s*\[[0-9]{1,9}\])+")
_LETTER = re.compile(r"[^\W\d_]")
_LAST_NUMBER = re.compile(r"(?<![0-9])\[?[0-9]+$")
_DASH = r"\s{0,3}(?:[-\u2013\u2014]|\bto\b|\.\.)\s{0,3}"
_NUMBER = rf"(?<![^\W_])(?<!\.)(?>-?[0-9]+(?:[.,][0-9]+)*(?:{_DASH}[0-9]+)*)(?![^\W_])"  # atomic: it is read whole, or not at all
_NAME = "(?:score|grade|rating|relevance)"
_NAMED_GRADE = re.compile(rf"{_NAME}[^\w-]{{0,20}}({_NUMBER})", re.IGNORECASE)
_FINAL_GRADE = re.compile(rf"\b(?:final|overall)\W{{1,3}}{_NAMED_GRADE.pattern}", re.IGNORECASE)
_SPECIAL = re.compile(r"<[^<>\s]*>")
_VERDICT = re.compile(r"\W*(?:yes|no)\W*", re.IGNORECASE)
_WORD = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What was read in an answer.

    Attributes:
        value: An order, a grade or log-odds; always usable.
        faults: Which repairs it took, of those above; empty for an answer in the form that was asked for.
    """

    value: T
    faults: frozenset[str] = frozenset()


def read_ranking(text: str, n: int) -> Reading[tuple[int, ...]]:
    """Read an order of n documents: the numbers in the order they stand in, each the first time; the rest follows in its old order.

    Args:
        text: The answer, asked for as ``[2] > [1]``; numbers count from 1.
        n: How many documents there are, 1 or more. A number that names none of them is passed over.

    Returns:
        Positions in the old order, counted from 0, best first: a permutation of 0 ... n - 1, whatever the text.

    References:
        Sun et al., "Is ChatGPT Good at Search? Investigating Large Language Models as Re-Ranking Agents", EMNLP 2023; the
        rules are those by which RankLLM made its published runs.

    Example:
        >>> reading = read_ranking("Sure: [3] > [1] > [3]", 4)
        >>> reading.value, sorted(reading.faults)
        ((2, 0, 1, 3), ['malformed', 'partial', 'repeated'])
    """
    said = _answer_of(text)
    numbers = [int(word) if len(word) <= _DIGITS else 0 for word in re.findall("[0-9]+", said)]
    named = [number - 1 for number in numbers if 1 <= number <= n]
    order = list(dict.fromkeys(named))
    missing = sorted(set(range(n)) - set(order))
    faults = {
        "malformed": not _RANKING.fullmatch(said) or len(named) < len(numbers),
        "unread": not named,
        "partial": bool(named and missing),
        "repeated": len(order) < len(named),
    }
    return Reading((*order, *missing), _those(faults))


def read_list(text: str, n: int, *, cut: bool = False) -> Reading[tuple[int, ...]]:
    """Read an order as ``read_ranking`` does, but not from the numbers of the prose around it, nor from half a number.

    Where one list in the form asked for, behind words, names each document exactly once, that list alone is read. (Of the 1,161
    published answers this changes none.) The last number of an answer that was cut there is passed over.

    Args:
        text: The answer.
        n: How many documents there are, 1 or more.
        cut: Whether the answer was cut because it was too long.

    Returns:
        As ``read_ranking``.

    Example:
        >>> read_list("Here are the 3 documents: [2] > [1] > [3]", 3).value, read_list("[3] > [1", 20, cut=True).value[:2]
        ((1, 0, 2), (2, 0))
    """
    said = _answer_of(text)
    for found in _LIST.finditer(said):
        numbers = [int(word) for word in re.findall("[0-9]+", found[0])]
        if sorted(numbers) == list(range(1, n + 1)) and _LETTER.search(said, 0, found.start()):
            return Reading(tuple(number - 1 for number in numbers), frozenset({"malformed"}))
    return read_ranking(_LAST_NUMBER.sub("", said) if cut else said, n)


def read_grade(text: str, lowest: int, highest: int) -> Reading[int]:
    """Read a grade: the final or overall score or grade, else what is called a score or grade, else the only number there is.

    The scale itself is passed over, as in "score (0-3): 2" and "2/3". Where two numbers of the same standing differ, nothing is
    read, and neither is a range, or a number with a comma.

    Args:
        text: The answer.
        lowest: The lowest grade, 0 or more; an answer without a grade counts as that, and is ``unread``.
        highest: The highest grade. A number outside the scale, or between two grades, is no grade.

    Returns:
        The grade.

    Example:
        >>> read_grade("2", 0, 3).value, read_grade("##final score: 2/3", 0, 3).value, sorted(read_grade("7", 0, 3).faults)
        (2, 2, ['malformed', 'unread'])
    """
    whole = _answer_of(text)
    scale = rf"[(\[]?\b{lowest}{_DASH}{highest}\b[)\]]?|\bbetween {lowest} and {highest}\b|(?:/|\bout of) {{0,3}}{highest}\b"
    said = re.sub(scale, " ", whole, flags=re.IGNORECASE)
    found = set(_FINAL_GRADE.findall(said) or _NAMED_GRADE.findall(said) or re.findall(_NUMBER, said))
    grades = {_to_number(number) for number in found}
    number = grades.pop() if len(grades) == 1 else math.nan
    if not (lowest <= number <= highest and number.is_integer()):
        return Reading(lowest, frozenset({"malformed", "unread"}))
    return Reading(int(number), _those({"malformed": not _GRADE.fullmatch(whole)}))


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def read_verdict(text: str, places: Sequence[Listed] = ()) -> Reading[float]:
    """Read how sure a yes is, as log-odds: log p(yes) - log p(no).

    The place that counts is the first where the answer says yes or no, else the first where it might have. Spellings that differ
    in case or white space add up. Where only one of the two words is listed there, the other gets the most that it can have: what
    the listed tokens leave of the probability, and no more than the least likely of the other tokens. Where no log-probability
    can be had, or the tokens do not end in the very text, so that they may be those of a thought, the first yes or no in the text
    is ``SURE`` or ``-SURE``; without either, the answer is ``unread`` and counts as a no.

    Args:
        text: The answer.
        places: The answer's tokens and what else was likely at each; empty where the server does not say. Tokens of a thought that
            the server took out of the text may come before.

    Returns:
        Log-odds, from ``-SURE`` to ``SURE``.

    References:
        Liang et al., "Holistic Evaluation of Language Models", TMLR 2023, where an LLM's yes ranks by its probability.

    Example:
        >>> read_verdict("Yes", [(("Yes", -0.25), ("No", -1.5))]).value, read_verdict("No.").value
        (1.25, -100.0)
    """
    said = _answer_of(text)
    faults = {"malformed": not _VERDICT.fullmatch(said)}
    after = _places_of(said, places)
    choices = [place for place in after if place and _meaning(place[0][0])]
    choices += [place for place in after if any(_meaning(token) for token, _ in place)]
    if choices:
        return Reading(_odds(choices[0]), _those(faults))
    word = _WORD.search(said)
    sure = word is not None and _meaning(word[0]) == "yes"
    return Reading(SURE if sure else -SURE, _those({**faults, "unread": word is None, "bare": True}))


def _answer_of(text: str) -> str:
    """Leave out what a reasoning model thought aloud."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def _places_of(said: str, places: Sequence[Listed]) -> Sequence[Listed]:
    """Find the last places whose tokens make up an answer; none where there are no such."""
    wanted, tail = said.strip(), ""
    for start in range(len(places) - 1, -1, -1):
        token = places[start][0][0] if places[start] else ""
        if tail or not _SPECIAL.fullmatch(token):  # what ends an answer is none of its text
            tail = token + tail
        if len(tail.strip()) >= len(wanted):
            return places[start:] if wanted and tail.strip() == wanted else ()
    return ()


def _meaning(token: str) -> str:
    word = token.strip().strip(".,:;!\"'*").casefold()
    return word if word in ("yes", "no") else ""


def _odds(place: Listed) -> float:
    yes, no = ([value for token, value in place if _meaning(token) == word] for word in ("yes", "no"))
    others = [value for token, value in place if not _meaning(token)]
    left = 1 - sum(math.exp(min(value, 0.0)) for _, value in place)
    most = min([math.log(left) if left > 0 else -math.inf, *others])
    odds = (_log_sum(yes) if yes else most) - (_log_sum(no) if no else most)
    return min(max(odds, -SURE), SURE)


def _log_sum(values: list[float]) -> float:
    most = max(values)
    return most + math.log(sum(math.exp(value - most) for value in values))


def _those(faults: dict[str, bool]) -> frozenset[str]:
    return frozenset(name for name, there in faults.items() if there)
