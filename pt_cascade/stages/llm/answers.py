"""What a language model answered, read by stated rules: a grade, or how sure its yes is (``llm_lists`` reads orders).

Any text can be read. What was found wrong with it is named, so that it can be counted:

- ``malformed``: it is not in the form that was asked for, whatever was read in it;
- ``unread``: nothing can be read in it, or it was cut off before its end: it is no answer;
- ``partial``: an order that leaves documents out;
- ``repeated``: an order that names a document twice;
- ``overlong``: it was cut off at ``max_tokens``, unless it is a yes or no alone that comes with log-probabilities;
- ``bare``: a yes or no without log-probabilities, which is no fault of the answer.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from pt_cascade.stages.llm.reasoning import strip_reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
Listed: TypeAlias = "tuple[tuple[str, float], ...]"
"""Tokens that might have stood at one place of an answer, each with its finite log-probability; the one that does comes first."""

SURE = 100.0  # log-odds of a yes that no log-probability comes with, and the limit of those that have one
_GRADE = re.compile(r"\s*[0-9]+\s*")
_FIRST_LINE = re.compile(r"\A[^\w\n.,-]{0,9}([0-9]+)[^\w\n]{0,9}\n")
_DASH = r"\s{0,3}(?:[-\u2013\u2014]|\bto\b|\.\.)\s{0,3}"
_NUMBER = rf"(?<![^\W_])(?<!\.)(?>-?[0-9]+(?:[.,][0-9]+)*(?:{_DASH}[0-9]+)*)(?![^\W_])"  # atomic: it is read whole, or not at all
_NAME = "(?:score|grade|rating|relevance)"
_NAMED_GRADE = re.compile(rf"{_NAME}[^\w-]{{0,20}}(?:\b(?:is|of)\b[^\w-]{{1,9}})?({_NUMBER})", re.IGNORECASE)
_FINAL_GRADE = re.compile(rf"\b(?:final|overall)\W{{1,3}}{_NAMED_GRADE.pattern}", re.IGNORECASE)
_ANY_NUMBER = re.compile(_NUMBER)
_SPECIAL = re.compile(r"<[^<>\s]*>")
_VERDICT = re.compile(r"\W*(?:yes|no)\W*", re.IGNORECASE)
_LEADING = re.compile(r"\A\W*(yes|no)\b", re.IGNORECASE)
_CLAUSE = re.compile(
    r"(?<=[,:;.!?\n])[^\w\n]{0,9}\b(yes|no)\b(?=[*_\"')\]}]{0,3}\s?(?:[,:;.!?}\n]|\Z))|\b(yes|no)(?=\W{0,9}\Z)", re.IGNORECASE
)
_NEGATION = re.compile(r"\b(?:not|cannot|never|neither|nor|without|rather than|no(?=\s+\w))\b|n['\u2019]t\b", re.IGNORECASE)
_BREAK = re.compile(r"[.!?\n]|[,;]\s{0,3}(?:so|hence|thus|therefore)\b", re.IGNORECASE)
"""What ends the part of a text to which a negation in it applies."""
_CHOICE = re.compile(r"\byes\s{0,3}(?:/|\bor\b)\s{0,3}no\b", re.IGNORECASE)
_SPACES = str.maketrans({"\u2581": " ", "\u0120": " ", "\u010a": "\n"})
"""How the vocabularies of SentencePiece and byte-level BPE write white space."""
_BRACKETS = str.maketrans("\uff3b\uff3d\u3010\u3011", "[][]")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What was read in an answer, and its faults, of those above; of an ``unread`` one a grade or log-odds is NaN."""

    value: T
    faults: frozenset[str] = frozenset()


def take_answer(text: str) -> str | None:
    """Give an answer without reasoning, with digits and brackets of any script in ASCII; None where the reasoning does not end."""
    said = strip_reasoning(text)
    if said is None or said.isascii():
        return said
    return "".join(str(unicodedata.decimal(sign, sign)) for sign in said.translate(_BRACKETS))


def read_grade(text: str, lowest: int, highest: int, *, cut: bool = False) -> Reading[float]:
    """Read a grade: the final or overall score, else the first line, else what is called a score, else the only number there is.

    The scale itself is passed over, as in "score (0-3): 2" and "2/3". Where two numbers of the same standing differ, nothing is
    read, and neither is a range, or a number with a comma, outside the scale, or between two grades. An answer that was cut off
    is read only where it is the grade alone.

    Example:
        >>> read_grade("2", 0, 3).value, read_grade("##final score: 2/3", 0, 3).value, sorted(read_grade("7", 0, 3).faults)
        (2.0, 2.0, ['malformed', 'unread'])
    """
    whole = take_answer(text) or ""
    scale = rf"[(\[]?\b{lowest}{_DASH}{highest}\b[)\]]?|\bbetween {lowest} and {highest}\b|(?:/|\bout of) {{0,3}}{highest}\b"
    said = re.sub(scale, " ", whole, flags=re.IGNORECASE)
    ways = (_FINAL_GRADE, _FIRST_LINE, _NAMED_GRADE, _ANY_NUMBER)
    found = next((numbers for way in ways if (numbers := set(way.findall(said)))), set())
    grades = {_to_number(number) for number in found}
    number, alone = grades.pop() if len(grades) == 1 else math.nan, _GRADE.fullmatch(whole) is not None
    unread = not (lowest <= number <= highest and number.is_integer()) or (cut and not alone)
    faults = name_faults({"malformed": not alone or unread, "unread": unread, "overlong": cut})
    return Reading(math.nan if unread else number, faults)


def read_verdict(text: str, places: Sequence[Listed] = (), *, cut: bool = False) -> Reading[float]:
    """Read how sure a yes is, as log-odds from -SURE to SURE: log p(yes) - log p(no).

    The yes or no that counts is the first word, else the one that is a clause of its own or the last word; where such differ, or
    a negation precedes one in its sentence ("not a yes"), none. Log-odds are those of its token, else those of the answer's
    first token, where that might have been one of the two. Of an answer that was cut off only the first word counts, or its only
    token. Spellings that differ in case or white space add up. Where only one of the two words is listed, the other gets the most
    that it can have: what the listed tokens leave of the probability, and no more than the least likely of the other tokens.
    Without log-probabilities of the very answer a yes is SURE and a no -SURE; an answer that was cut off is then read only where
    it is the word alone.

    References:
        Liang et al., "Holistic Evaluation of Language Models", TMLR 2023, where an LLM's yes ranks by its probability.

    Example:
        >>> read_verdict("Yes", [(("Yes", -0.25), ("No", -1.5))]).value, read_verdict("No.").value
        (1.25, -100.0)
    """
    said = take_answer(text) or ""
    alone = _VERDICT.fullmatch(said) is not None
    word, start = _find_verdict(said.strip(), cut=cut)
    place = _place_of(said.strip(), places, start) if word or not cut or len(places) == 1 else ()
    if any(_meaning(token) for token, _ in place):
        return Reading(_odds(place), name_faults({"malformed": not alone, "overlong": cut and not alone}))
    unread = not word or (cut and not alone)
    faults = name_faults({"malformed": not alone, "unread": unread, "overlong": cut, "bare": not unread})
    return Reading(math.nan if unread else SURE if word == "yes" else -SURE, faults)


def name_faults(faults: dict[str, bool]) -> frozenset[str]:
    """Keep the names of those that are there."""
    return frozenset(name for name, there in faults.items() if there)


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _find_verdict(said: str, *, cut: bool) -> tuple[str, int]:
    """Find the yes or no that counts, and where it stands; the words of the question ("Yes or No") do not count."""
    said = _CHOICE.sub(lambda choice: "#" * len(choice[0]), said)
    leading = _LEADING.search(said)
    found = [leading] if leading else [] if cut else list(_CLAUSE.finditer(said))
    words = [(match[match.lastindex or 0].casefold(), match.start(match.lastindex or 0)) for match in found]
    breaks = [0, *(mark.end() for mark in _BREAK.finditer(said))]
    plain = all(not _NEGATION.search(said, breaks[bisect_right(breaks, start) - 1], start) for _, start in words)
    return words[0] if plain and len({word for word, _ in words}) == 1 else ("", 0)


def _place_of(said: str, places: Sequence[Listed], start: int) -> Listed:
    """Find what is listed where the word at ``start`` ends; nothing where the last tokens do not make up the answer."""
    wanted, tail, first = said.translate(_SPACES), "", len(places)
    while first and len(tail.strip()) < len(wanted):
        first -= 1
        token = places[first][0][0].translate(_SPACES) if places[first] else ""
        if tail or not _SPECIAL.fullmatch(token):  # what ends an answer is none of its text
            tail = token + tail
    if not wanted or tail.strip() != wanted:
        return ()
    end = len(tail) - len(tail.lstrip()) + start
    for place in places[first:]:
        end -= len(place[0][0]) if place else 0
        if end < 0:
            return place
    return ()


def _meaning(token: str) -> str:
    word = token.translate(_SPACES).strip().strip(".,:;!?\"'*_()[]{}").strip().casefold()
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
