"""Command lines, run in this process."""

from __future__ import annotations

from pt_cascade.cli import parse_arguments


def paragraphs(*words: object) -> list[str]:
    """Run a command of ``pt-cascade``; return the paragraphs that it prints."""
    arguments = parse_arguments([str(word) for word in words])
    return list(arguments.execute(arguments))
