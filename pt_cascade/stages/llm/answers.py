r"""Reads a grade, or the log-odds of a yes, in the answer of a language model; ``lists.py`` reads orders.

Each fault of an answer has a name, under which ``usage.py`` counts it:

- ``malformed``: the answer is not in the form that the prompt asks for;
- ``unread``: nothing can be read in it, or it was cut off too early to be read;
- ``partial``: an order leaves documents out;
- ``repeated``: an order names a document twice;
- ``overlong``: the answer was cut off at ``max_tokens``; not for a yes or no alone with log-probabilities;
- ``no_logprobs``: a yes or no came without log-probabilities.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Alternatives: TypeAlias = "tuple[tuple[str, float], ...]"
"""The tokens listed at one position of an answer, each with a finite log-probability; the generated token comes first."""

SURE = 100.0  # log-odds of a yes without log-probabilities, and the limit of log-odds with them
_THOUGHT = r"(?:think(?:ing)?|reason(?:ing)?|scratch_?pad|reflect(?:ion)?|analysis|rationale|cot|(?:\w+_)?(?:thoughts?|monologue))"
_REASONING = re.compile(
    rf"(?P<end><\|?\s?(?:/|end_|end_of_)\s?(?:[a-z]+:)?{_THOUGHT}\s?\|?>|\[/THINK\]|\u25c1/think\u25b7|<unused95>|<channel\|>"
    r"|(?:<\|channel\|>|assistant)\s*final(?:\s*<\|message\|>)?|assistant\s*<\|channel\|>\s*final(?:\s*<\|message\|>)?"
    r"|\[BEGIN FINAL RESPONSE\]|Here is my response:)"
    rf"|<\|?\s?(?:[a-z]+:|start_|begin_of_)?{_THOUGHT}\b[^<>|]{{0,40}}\|?>|\[THINK\]|\u25c1think\u25b7|<unused94>"
    r"|<\|?channel\|?>\s*(?:analysis|commentary|thought)\b|Here is my thought process:"
    r"|\A\s*(?-i:(?:assistant\s*)?(?:analysis|commentary)(?!\s{0,3}[:.,;-]))",
    re.IGNORECASE,
)
"""Marks around reasoning in the known formats; gpt-oss without its special tokens starts with ``analysis`` in lower case."""
_WRAPPING = re.compile(
    r"</?(?:answer|response|output|final|s)>|<\|(?:START|END)_(?:RESPONSE|TEXT)\|>|<\|(?:begin|end)_of_(?:solution|box)\|>"
    r"|<\|(?:message|end|return|im_end|eot_id|endoftext)\|>|<end_of_turn>|\[END FINAL RESPONSE\]|```(?:json)?"
)
_GRADE = re.compile(r"\s*[0-9]+\s*")
_FIRST_LINE = re.compile(r"\A[^\w\n.,-]{0,9}([0-9]+)[^\w\n]{0,9}\n")
_DASH = r"\s{0,3}(?:[-\u2013\u2014]|\bto\b|\.\.)\s{0,3}"
_DIGITS = rf"(?<![^\W_])(?<!\.)(?>-?[0-9]+(?:[.,][0-9]+)*(?:{_DASH}[0-9]+)*)"  # atomic: no part of a number matches
_NUMBER = rf"{_DIGITS}(?![^\W_])"
_NAME = "(?:score|grade|rating|relevance)"
_NAMED_GRADE = re.compile(rf"{_NAME}[^\w-]{{0,20}}(?:\b(?:is|of)\b[^\w-]{{1,9}})?({_NUMBER})", re.IGNORECASE)
_FINAL_GRADE = re.compile(rf"\b(?:final|overall)\W{{1,3}}{_NAMED_GRADE.pattern}", re.IGNORECASE)
_ANY_NUMBER = re.compile(rf"({_NUMBER})|{_DIGITS}")  # digits that no number begins with are passed over at once
_DECIMALS = re.compile(r"\.0+\Z")
_SPECIAL = re.compile(r"<[^<>\s]*>")
_VERDICT = re.compile(r"\W*(?:yes|no)\W*", re.IGNORECASE)
_LEADING = re.compile(r"\A\W*(yes|no)\b", re.IGNORECASE)
_CLAUSE = re.compile(
    r"(?<=[,:;.!?\n])[^\w\n]{0,9}\b(yes|no)\b(?=[*_\"')\]}]{0,3}\s?(?:[,:;.!?}\n]|\Z))|\b(yes|no)(?=\W{0,9}\Z)", re.IGNORECASE
)
_NEGATION = re.compile(r"\b(?:not|cannot|never|neither|nor|without|rather than|no(?=\s+\w))\b|n['\u2019]t\b", re.IGNORECASE)
_BREAK = re.compile(r"[.!?\n]|[,;]\s{0,3}(?:so|hence|thus|therefore)\b", re.IGNORECASE)  # a negation reaches up to it
_CHOICE = re.compile(r"\byes\s{0,3}(?:/|\bor\b)\s{0,3}no\b", re.IGNORECASE)
_BRACKETS = str.maketrans("\uff3b\uff3d\u3010\u3011", "[][]")


@dataclass(frozen=True)
class Reading:
    """What was read in an answer: a grade, log-odds or an order of documents; NaN if unread; and the names of its faults."""

    value: float
    faults: frozenset[str] = frozenset()
    order: tuple[int, ...] = ()


def take_answer(text: str) -> str | None:
    """Remove reasoning, and write digits and brackets of any script in ASCII; None where reasoning has no end."""
    answer, end, inside = "", 0, False
    for mark in _REASONING.finditer(text):
        if mark["end"]:
            answer, inside, end = answer if inside else "", False, mark.end()  # before an end without a start is reasoning
        elif not inside:
            answer, inside = answer + text[end : mark.start()], True
    answer = _WRAPPING.sub("", answer + text[end:])
    if inside or answer.isascii():
        return None if inside else answer
    return "".join(str(unicodedata.decimal(sign, sign)) for sign in answer.translate(_BRACKETS))


def read_grade(text: str, lowest: int, highest: int, *, cut: bool = False) -> Reading:
    """Read the final or overall score, else the first line, else a number called score or grade, else the only number.

    The scale itself does not count ("score (0-3): 2"). Numbers that differ, a range, and a number outside the scale or between two
    grades are unread, and so is an answer that was cut off, unless it is the grade alone.
    """
    whole = take_answer(text) or ""
    scale = rf"[(\[]?\b{lowest}{_DASH}{highest}\b[)\]]?|\bbetween {lowest} and {highest}\b|(?:/|\bout of) {{0,3}}{highest}\b"
    answer = re.sub(scale, " ", whole, flags=re.IGNORECASE)
    forms = (_FINAL_GRADE, _FIRST_LINE, _NAMED_GRADE, _ANY_NUMBER)
    found = next((numbers for form in forms if (numbers := [*filter(None, form.findall(answer))])), [])
    grades, alone = {_DECIMALS.sub("", number) for number in found}, _GRADE.fullmatch(whole) is not None
    grade = float(only) if len(grades) == 1 and (only := grades.pop()).isdigit() else math.nan
    unread = not lowest <= grade <= highest or (cut and not alone)
    return Reading(math.nan if unread else grade, name_faults(malformed=not alone or unread, unread=unread, overlong=cut))


def read_verdict(text: str, logprobs: Sequence[Alternatives] = (), *, cut: bool = False) -> Reading:
    """Read the log-odds of a yes, log p(yes) - log p(no), limited to -SURE and SURE.

    The verdict is the first word, else a yes or no that is its own clause or the last word; where these differ, or a negation
    precedes one in its sentence, there is none. Log-odds are those at the verdict's token, else at the first token of the answer
    if a yes or no is listed there. Spellings add up; a word that is not listed gets the probability that the listed tokens leave,
    but no more than the least likely other token. Of an answer that was cut off only the first word counts, or its only token;
    without log-probabilities, only the word alone.
    """
    answer = take_answer(text) or ""
    alone = _VERDICT.fullmatch(answer) is not None
    word, start = _find_verdict(answer.strip(), cut=cut)
    listed = _find_token(answer.strip(), logprobs, start) if word or not cut or len(logprobs) == 1 else ()
    if any(_read_word(token) for token, _ in listed):
        return Reading(_compute_odds(listed), name_faults(malformed=not alone, overlong=cut and not alone))
    unread = not word or (cut and not alone)
    faults = name_faults(malformed=not alone, unread=unread, overlong=cut, no_logprobs=not unread)
    return Reading(math.nan if unread else SURE if word == "yes" else -SURE, faults)


def name_faults(**faults: bool) -> frozenset[str]:
    """Keep the names of the faults that are true."""
    return frozenset(name for name, found in faults.items() if found)


def _find_verdict(answer: str, *, cut: bool) -> tuple[str, int]:
    """Find the verdict and its position, or an empty text; the words "Yes or No" of the question do not count."""
    answer = _CHOICE.sub(lambda choice: "#" * len(choice[0]), answer)
    leading = _LEADING.search(answer)
    found = [leading] if leading else [] if cut else list(_CLAUSE.finditer(answer))
    words = [(match[match.lastindex or 0].casefold(), match.start(match.lastindex or 0)) for match in found]
    breaks = [0, *(mark.end() for mark in _BREAK.finditer(answer))]
    plain = all(not _NEGATION.search(answer, breaks[bisect_right(breaks, start) - 1], start) for _, start in words)
    return words[0] if plain and len({word for word, _ in words}) == 1 else ("", 0)


def _find_token(answer: str, logprobs: Sequence[Alternatives], start: int) -> Alternatives:
    """Find the token that covers the character ``start`` of the answer; empty where the last tokens are not the answer."""
    wanted, tail, first = answer, "", len(logprobs)
    while first and len(tail.strip()) < len(wanted):
        first -= 1
        token = logprobs[first][0][0] if logprobs[first] else ""
        if tail or not _SPECIAL.fullmatch(token):  # an end-of-text token is not part of the answer
            tail = token + tail
    if not wanted or tail.strip() != wanted:
        return ()
    left = len(tail) - len(tail.lstrip()) + start
    for listed in logprobs[first:]:
        left -= len(listed[0][0]) if listed else 0
        if left < 0:
            return listed
    return ()


def _read_word(token: str) -> str:
    word = token.strip().strip(".,:;!?\"'*_()[]{}").strip().casefold()
    return word if word in ("yes", "no") else ""


def _compute_odds(listed: Alternatives) -> float:
    values = {word: [value for token, value in listed if _read_word(token) == word] for word in ("yes", "no", "")}
    rest = 1 - sum(math.exp(min(value, 0.0)) for _, value in listed)
    most = min([math.log(rest) if rest > 0 else -math.inf, *values[""]])
    yes, no = (float(np.logaddexp.reduce(values[word] or [most])) for word in ("yes", "no"))
    return min(max(yes - no, -SURE), SURE)
