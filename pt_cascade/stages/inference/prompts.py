"""Prompts: what a model reads beside query and document, the same for all topics or from a column of the topics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

_NAME = re.compile(r"\{(\w+)\}")
_QUERY = "query"


def find_columns(prompt: str | None) -> list[str]:
    """Name the columns that a prompt is filled from, each once; query, which every stage has, is left out.

    Example:
        >>> find_columns("Instruct: {instruction}; Query: {query}")
        ['instruction']
    """
    return [name for name in dict.fromkeys(_NAME.findall(prompt or "")) if name != _QUERY]


def check_prompt(prompt: str | None, document: Sequence[str]) -> list[str]:
    """List what is wrong with a prompt: it names a column of the document, which the model reads beside it.

    Example:
        >>> check_prompt("Is {text} about {query}?", ["text"])
        ['prompt names {text}, but the model reads the document beside the prompt: leave it out']
    """
    given: object = prompt  # types are hints
    if not isinstance(given, str | None):
        return [f"prompt is {prompt!r:.60}, expected text, or None"]
    named = [f"{{{name}}}" for name in find_columns(prompt) if name in document]
    return [f"prompt names {', '.join(named)}, but the model reads the document beside the prompt: leave it out"] if named else []


def fill(prompt: str | None, results: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Fill a prompt for each row: what stands before the query, and the query; a prompt with ``{query}`` replaces the query.

    Braces in the text of a column are text.

    Example:
        >>> import pandas as pd
        >>> topics = pd.DataFrame({"query": ["lions {x}"], "instruction": ["Find facts."]})
        >>> fill("{instruction} Query: ", topics), fill("{instruction} Query: {query}", topics)
        ((['Find facts. Query: '], ['lions {x}']), ([''], ['Find facts. Query: lions {x}']))
    """
    queries = results[_QUERY].tolist()
    if not prompt:
        return [""] * len(queries), queries
    parts = _NAME.split(prompt)  # text and, in every other place, names
    columns = [results[part].tolist() if n % 2 else [part] * len(queries) for n, part in enumerate(parts)]
    filled = ["".join(row) for row in zip(*columns, strict=True)]
    return ([""] * len(queries), filled) if _QUERY in parts[1::2] else (filled, queries)
