"""Parses numpydoc docstrings (https://numpydoc.readthedocs.io/en/latest/format.html)."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from textwrap import dedent

_CALL = re.compile(r"\s*(?:[\w., ]+=\s*)?[A-Za-z_][\w.]*\(")
_AFTER_CALL = re.compile(r"[ \t]*(?:->[^\n]*)?(?:\n--)?[ \t]*(?:\n|$)")
_NO_PROSE = re.compile(r"\.\. |>>>|[^\n]*\n(?:-{3,}|={3,})[ \t]*(?:\n|$)")
_PARAGRAPH = re.compile(r".*?(?=\n[ \t]*\n|\n\.\. |$)", re.DOTALL)
_PERIOD = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\bvs)\.(?=\s|$)")
_TITLE = re.compile(r"^(\S[^\n]*)\n(?:-{3,}|={3,})[ \t]*$", re.MULTILINE)
_NAME = re.compile(
    r"\s*(?::[\w:+]+:)?"  # a role, as in :func:
    r"`{0,2}[~!]?(?P<name>[A-Za-z_][\w.]*?)(?:\(\))?`{0,2}\s*"
    r"(?P<end>,|:(?=\s|$)|\.?\s*$)",
)


@dataclass(frozen=True)
class Docstring:
    """A docstring's first sentence, its body without signature and "See Also", and the names in "See Also"."""

    sentence: str
    body: str
    see_also: tuple[str, ...]


def parse_docstring(text: str) -> Docstring:
    """Parse a docstring as it stands in the source."""
    prose = _without_signature(inspect.cleandoc(text))
    sentence = _first_sentence(prose)
    sections, names = _split_see_also(prose[len(sentence) :])
    return Docstring(" ".join(sentence.split()), re.sub(r"\n{3,}", "\n\n", sections).strip(), names)


def _without_signature(text: str) -> str:
    """Drop signature lines, as in compiled functions: ``add(x1, x2, /) -> out``."""
    while (call := _CALL.match(text)) and (end := _closing(text, call.end())):
        after = _AFTER_CALL.match(text, end)
        if after is None:
            break
        text = text[after.end() :].lstrip("\n")
    return text


def _closing(text: str, start: int) -> int:
    """Return the position after the closing bracket; 0 if there is none in this paragraph."""
    depth = 1
    for place in re.finditer(r"[()]|\n[ \t]*\n", text[start:]):
        if place[0] not in "()":
            return 0
        depth += 1 if place[0] == "(" else -1
        if depth == 0:
            return start + place.end()
    return 0


def _first_sentence(prose: str) -> str:
    paragraph = _PARAGRAPH.match(prose)
    if paragraph is None or _NO_PROSE.match(prose):
        return ""
    period = _PERIOD.search(paragraph[0])
    return paragraph[0][: period.end()] if period else paragraph[0]


def _split_see_also(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text without "See Also" sections, and the names in them."""
    titles = list(_TITLE.finditer(text))
    kept, names, place = [], [], 0
    for number, title in enumerate(titles, 1):
        if title[1].strip().lower() != "see also":
            continue
        end = titles[number].start() if number < len(titles) else len(text)
        kept.append(text[place : title.start()])
        names += _names(text[title.end() : end])
        place = end
    return "".join([*kept, text[place:]]), tuple(dict.fromkeys(names))


def _names(section: str) -> list[str]:
    """Return the names in lines like ``name1, :func:`name2` : description``; indented lines are descriptions, or follow a comma."""
    found: list[str] = []
    goes_on = False
    for line in dedent(section.strip("\n")).split("\n"):
        if line.startswith((" ", "\t")) and not goes_on:
            continue
        place, goes_on = 0, False
        while item := _NAME.match(line, place):
            found.append(item["name"].rstrip("."))
            place, goes_on = item.end(), item["end"] == ","
            if not goes_on:
                break
        goes_on = goes_on and place == len(line.rstrip())
    return found
