"""Prompts: text files with places for the query, the documents and an instruction, told apart by their hash."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pt_cascade.errors import MissingError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

How: TypeAlias = Literal["graded", "yes_no", "listwise"]

_OWN = Path(__file__).with_name("judge_prompts")
_NEEDS: dict[str, tuple[str, ...]] = {
    "graded": ("query", "document"),
    "yes_no": ("query", "document"),
    "listwise": ("query", "documents"),
}
_MAY: dict[str, tuple[str, ...]] = {"graded": ("instruction",), "yes_no": ("instruction",), "listwise": ("instruction", "count")}
_PLACE = re.compile(r"\{([A-Za-z_]+)\}")
_EMPTY_LINE = re.compile(r"^\{instruction\}\n", re.MULTILINE)
_LEAST_TOKEN = re.compile(r"[^\s\u0e00-\u0eff\u2e80-\U0003ffff]+|[\u0e00-\u0eff\u2e80-\U0003ffff]{1,4}")
_LONGEST_WORD = 10  # characters a word on average at most; text without white space is one word


@dataclass(frozen=True)
class Prompt:
    """A prompt with places in braces (``_NEEDS``, ``_MAY``); any other brace stands for itself."""

    name: str = field(compare=False)
    text: str

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of the text's SHA-256; another text, another hash."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def render(self, values: Mapping[str, str]) -> str:
        """Put values in their places, all at once; a line that is ``{instruction}`` alone goes where there is none.

        Example:
            >>> Prompt("p", "{query}? {document}").render({"query": "{document}", "document": "{0}"})
            '{document}? {0}'
        """
        text = self.text if values.get("instruction") else _EMPTY_LINE.sub("", self.text)
        filled = _PLACE.sub(lambda place: values.get(place[1], place[0]), text)
        return filled.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be sent

    def __repr__(self) -> str:
        return f"{self.name}@{self.hash}"


def load_prompt(prompt: str | os.PathLike[str] | None, how: How) -> Prompt:
    """Read a prompt from its file in UTF-8; None: the built-in one; ``find_faults`` says whether it can be used.

    Raises:
        MissingError: There is no such file, or it is not UTF-8.
    """
    file = _OWN / f"{how}.txt" if prompt is None else Path(prompt)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MissingError("llm_judge cannot read its prompt", [f"{file} is not UTF-8: {error.reason}"]) from None
    except (OSError, ValueError) as error:  # a path may not hold a NUL
        fix = "prompt=None takes the built-in one; else the path of a text file with {query} in it"
        why = getattr(error, "strerror", None) or error
        raise MissingError("llm_judge cannot read its prompt", [f"{file}: {why}"], fix=fix) from None
    return Prompt(how if prompt is None else file.name, text.replace("\r\n", "\n"))


def find_faults(prompt: Prompt, how: How, instruction: str) -> Iterator[str]:
    """Say what keeps a prompt from being used; it must have a place for an instruction, unless that is empty.

    Example:
        >>> list(find_faults(Prompt("mine.txt", "{query} {passage}"), "graded", ""))
        ['prompt mine.txt has no place {document}', 'prompt mine.txt has {passage}, expected {query}, {document} or {instruction}']
    """
    places = dict.fromkeys(_PLACE.findall(prompt.text))
    needs = _NEEDS[how] + (("instruction",) if instruction else ())
    known = list(dict.fromkeys((*_NEEDS[how], *_MAY[how])))
    yield from (f"prompt {prompt.name} has no place {{{place}}}" for place in needs if place not in places)
    if unknown := [f"{{{place}}}" for place in places if place not in known]:
        *most, last = [f"{{{place}}}" for place in known]
        yield f"prompt {prompt.name} has {', '.join(unknown)}, expected {', '.join(most)} or {last}"


def count_least(text: str) -> int:
    """Count the tokens that a text has at least: its words; in scripts without spaces a fourth of the letters.

    Example:
        >>> count_least("the flow  of heat"), count_least("\u71b1\u306e\u6d41\u308c\u306b\u3064\u3044\u3066")
        (4, 2)
    """
    return len(_LEAST_TOKEN.findall(text))


def cut_text(text: str, words: int) -> str:
    """Cut a text after so many words, and in any case after ten times as many characters; its white space stays as it is.

    Example:
        >>> cut_text("the flow  of heat", 3), cut_text("x" * 99, 3)
        ('the flow  of', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx')
    """
    text = text[: _LONGEST_WORD * words]
    parts = text.split(None, words)
    return text if len(parts) <= words else text[: len(text) - len(parts[-1])].rstrip()


def number_documents(texts: Sequence[str]) -> str:
    r"""Put each document on a line of its own behind its number; what looks like such a number in a text loses its brackets.

    Example:
        >>> number_documents(["heat", "see [1] for\nmore"])
        '[1] heat\n[2] see (1) for more'
    """
    lines = (re.sub(r"\[(\d+)\]", r"(\1)", " ".join(text.split())) for text in texts)
    return "\n".join(f"[{number}] {line}" for number, line in enumerate(lines, start=1))
