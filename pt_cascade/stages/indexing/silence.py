"""An engine's own printing, from C++, kept off the terminal."""

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
    """The process's two streams, sent to nowhere while any thread wants it."""

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
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in _STREAMS:
                os.dup2(nowhere, stream)
            os.close(nowhere)

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
    """Send what an engine prints to nowhere; it does not go through Python's own streams.

    Threads may do so at once: the streams come back when the last one is done.

    Yields:
        The real standard error, for a progress bar.
    """
    _streams.close()
    try:
        with os.fdopen(os.dup(_streams.kept[1]), "w", encoding="utf-8") as stderr:
            yield stderr
    finally:
        _streams.open()
