"""Silence what an engine prints from C++."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_STREAMS = (1, 2)


class _Streams:
    """The two output streams of the process, redirected to the null device while any thread asks for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.kept: list[int] = []

    def close(self) -> None:
        with self.lock:
            self.depth += 1
            if self.depth > 1:
                return
            sys.stdout.flush()
            sys.stderr.flush()
            self.kept = [os.dup(stream) for stream in _STREAMS]
            null = os.open(os.devnull, os.O_WRONLY)
            for stream in _STREAMS:
                os.dup2(null, stream)
            os.close(null)

    def open(self) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth:
                return
            for stream, copy in zip(_STREAMS, self.kept, strict=True):
                os.dup2(copy, stream)
                os.close(copy)


_streams = _Streams()


@contextmanager
def hushed() -> Iterator[TextIO]:
    """Redirect the output of the process, which C++ writes to directly, until the last thread is done; yield the real stderr."""
    _streams.close()
    try:
        with os.fdopen(os.dup(_streams.kept[1]), "w", encoding="utf-8") as stderr:
            yield stderr
    finally:
        _streams.open()
