"""Prompts: text files with fields for the query, the documents and an instruction, identified by their hash."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pt_cascade.errors import MissingError
from pt_cascade.files import read_file

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

Mode: TypeAlias = Literal["graded", "yes_no", "listwise"]

_BUILT_IN = Path(__file__).with_name("judge_prompts")
_FIELD = re.compile(r"\{([A-Za-z_]+)\}")
_EMPTY_LINE = re.compile(r"^\{instruction\}\n", re.MULTILINE)
_TOKEN = re.compile(r"[^\s\u0e00-\u0eff\u2e80-\U0003ffff]+|[\u0e00-\u0eff\u2e80-\U0003ffff]{1,4}")
_LONGEST_WORD = 10  # characters a word on average; a text without white space is one word


@dataclass(frozen=True)
class Prompt:
    """A prompt with fields in braces, e.g. ``{query}``."""

    name: str = field(compare=False)
    text: str

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of the text's SHA-256."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def render(self, values: Mapping[str, str]) -> str:
        """Fill the fields; without an instruction, a line that is ``{instruction}`` alone is left out."""
        text = self.text if values.get("instruction") else _EMPTY_LINE.sub("", self.text)
        filled = _FIELD.sub(lambda found: values.get(found[1], found[0]), text)
        return filled.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be sent

    def __repr__(self) -> str:
        return f"{self.name}@{self.hash}"


def load_prompt(prompt: str | os.PathLike[str] | None, mode: Mode) -> Prompt:
    """Read a prompt from a file in UTF-8, or the built-in one; raise MissingError where there is none."""
    file = _BUILT_IN / f"{mode}.txt" if prompt is None else Path(prompt)
    try:
        text = read_file(file).decode("utf-8-sig")
    except (MissingError, UnicodeDecodeError) as error:
        fix = "pass prompt=None for the built-in prompt, or the path of a text file in UTF-8 with {query} in it"
        problem = ": ".join([error.what, *error.problems]) if isinstance(error, MissingError) else f"{file}: not UTF-8"
        raise MissingError("llm_judge cannot read its prompt", [problem], fix=fix) from None
    return Prompt(mode if prompt is None else file.name, text.replace("\r\n", "\n"))


def find_faults(prompt: Prompt, mode: Mode, instruction: str) -> Iterator[str]:
    """Name the fields that a prompt lacks, and those that are unknown; ``{instruction}`` is needed where there is one."""
    found = dict.fromkeys(_FIELD.findall(prompt.text))
    known = ["query", *(["documents", "instruction", "count"] if mode == "listwise" else ["document", "instruction"])]
    needed = known[:3] if instruction else known[:2]
    yield from (f"prompt {prompt.name} has no field {{{name}}}" for name in needed if name not in found)
    if unknown := [f"{{{name}}}" for name in found if name not in known]:
        *most, last = [f"{{{name}}}" for name in known]
        yield f"prompt {prompt.name} has {', '.join(unknown)}, expected {', '.join(most)} or {last}"


def count_least(text: str) -> int:
    """Count the tokens that a text has at least: its words, and a fourth of the letters in scripts without spaces.

    Example:
        >>> count_least("the flow  of heat"), count_least("\u71b1\u306e\u6d41\u308c\u306b\u3064\u3044\u3066")
        (4, 2)
    """
    return len(_TOKEN.findall(text))


def cut_text(text: str, words: int) -> str:
    """Cut a text after so many words, and after ten times as many characters; white space stays as it is."""
    text = text[: _LONGEST_WORD * words]
    parts = text.split(None, words)
    return text if len(parts) <= words else text[: len(text) - len(parts[-1])].rstrip()


def number_documents(texts: Sequence[str]) -> str:
    """Write each document on a line behind its number; a number in brackets in a text gets parentheses."""
    lines = (re.sub(r"\[(\d+)\]", r"(\1)", " ".join(text.split())) for text in texts)
    return "\n".join(f"[{number}] {line}" for number, line in enumerate(lines, start=1))


def slide(n: int, window: int, step: int) -> Iterator[slice]:
    """Give the windows over a list of n, lowest first, as Sun et al. (EMNLP 2023, section 3.2); the topmost may be shorter."""
    start, end = n, n
    while start > 0 and end > 1:
        start = max(end - window, 0)
        yield slice(start, end)
        end -= step
