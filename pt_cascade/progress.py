"""The progress of long tasks: a bar in a terminal, a widget in a notebook, plain lines in a file or a pipe."""

from __future__ import annotations

import sys
import textwrap
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from shutil import get_terminal_size
from threading import Event, Thread
from typing import TYPE_CHECKING, Never, TextIO
from warnings import catch_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm

_BAR_SECONDS = 1.0
_LINE_SECONDS = 10.0
_LINE = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
_WAIT = "{desc} [{elapsed}{postfix}]"
_LINE_WIDTH = 80
_PART = "{desc} {percentage:.0f}%"  # of what the step does, not all that the outer bar counts


@dataclass(eq=False)
class _Shown:
    """A bar that is shown, the step that it waits for, and a note."""

    bar: tqdm[Never]
    step: str = ""
    note: str = ""

    def show(self, step: str) -> None:
        """Show a step and the note after the count, when the bar is drawn again."""
        self.bar.set_postfix_str(", ".join(filter(None, [step, self.note])), refresh=False)


_innermost: ContextVar[_Shown | None] = ContextVar("innermost", default=None)  # of a thread, and of the tasks that it starts


@contextmanager
def show_progress(
    name: str, unit: str, total: int | None, *, shown: bool, done: int = 0, file: TextIO | None = None, form: str | None = None
) -> Iterator[tqdm[Never]]:
    """Count ``unit``s while the block runs, by ``update(n)`` of what is yielded.

    A bar is drawn again every second, and a line is written every ten, even while one unit takes longer. A bar that is not shown
    counts in the bar around it.

    Args:
        name: What stands before the count.
        unit: The singular, e.g. ``doc``.
        total: How many there are; None: unknown.
        shown: Whether anything is written.
        done: How many were done before.
        file: Where to write; None: stderr.
        form: The form of a bar that is erased at its end; None: that of tqdm, which stays.

    Example:
        >>> with show_progress("encode", "doc", 2, shown=True, file=sys.stdout) as bar:
        ...     bar.update(2)  # doctest: +ELLIPSIS
        encode: 0/2 [00:00<?, ?doc/s]
        encode: 2/2 [00:00<00:00, ...doc/s]
    """
    from tqdm.asyncio import tqdm as terminal_bar  # noqa: PLC0415 - takes time to import

    outer = _innermost.get()
    if not shown and outer:
        with terminal_bar(total=total, desc=name, file=_Note(outer), bar_format=_PART, mininterval=0.5) as part:
            yield part
        return
    file = file or sys.stderr
    if not shown or file is None:
        yield terminal_bar(disable=True)
        return
    with catch_warnings(action="ignore"):  # of a notebook without widgets, which has lines
        from tqdm.auto import tqdm as bar_or_widget  # noqa: PLC0415 - it looks for a notebook when imported
    terminal = getattr(file, "isatty", bool)()
    drawn = terminal or bar_or_widget is not terminal_bar
    size = get_terminal_size() if terminal else None  # in a terminal of unknown size tqdm itself would draw nothing
    bar: tqdm[Never] = bar_or_widget(
        total=total,
        initial=done,
        desc=name,
        unit=unit,
        leave=False if form else None if drawn else True,  # None: of two bars the outer one only
        file=file if drawn else _Lines(file),
        mininterval=0.1 if drawn else inf,
        bar_format=form if drawn else _LINE,
        ncols=size.columns - 1 if size else None,
        nrows=size.lines if size else None,
    )
    stop = Event()
    clock = Thread(target=_refresh, args=(bar, stop, _BAR_SECONDS if drawn else _LINE_SECONDS), daemon=True)
    with bar:
        clock.start()
        _innermost.set(_Shown(bar))
        try:
            yield bar
        finally:
            _innermost.set(outer)
            stop.set()
            clock.join()


@contextmanager
def show_wait(what: str) -> Iterator[None]:
    """Say in a terminal what takes seconds, for how long it has taken, and its step, until the block ends; nothing in a file.

    Args:
        what: What is done, e.g. ``sweeping``.

    Example:
        >>> with show_wait("sweeping"):  # in a terminal: sweeping [00:00]
        ...     pass
    """
    with show_progress(what, "", None, shown=getattr(sys.stderr, "isatty", bool)(), form=_WAIT):
        yield


def show_step(name: str) -> None:
    """Name what the innermost bar that this thread shows waits for."""
    if shown := _innermost.get():
        shown.step = name
        shown.show(name)


def show_note(note: str) -> None:
    """Show a note after the step of the innermost bar that this thread shows."""
    if shown := _innermost.get():
        shown.note = note
        shown.show(shown.step)


def seconds_left(bar: tqdm[Never]) -> float:
    """Return the seconds that a bar says are left; some of its units are done."""
    state = bar.format_dict
    return float((state["total"] - state["n"]) / (state["rate"] or (state["n"] - state["initial"]) / state["elapsed"]))


def write_above(line: str) -> None:
    """Write a line to stderr, above the bars that are shown."""
    from tqdm import tqdm as bars  # noqa: PLC0415 - takes time to import

    bars.write(line, file=sys.stderr)


def _refresh(bar: tqdm[Never], stop: Event, seconds: float) -> None:
    while not stop.wait(seconds):
        bar.refresh()


class _Note:
    """A file whose last line stands after the name of the step in a bar that is shown."""

    def __init__(self, shown: _Shown) -> None:
        self.shown = shown

    def write(self, text: str) -> None:
        """Take what the inner bar draws."""
        if line := text.replace("\x1b[A", "").strip():
            step = self.shown.step
            self.shown.show(line if line.startswith(step) else f"{step} {line}")

    def flush(self) -> None:
        """Nothing is written."""


class _Lines:
    """A file in which each state of a bar is a line."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.last = file, ""

    def write(self, text: str) -> None:
        """Write what a bar draws, without the codes that draw it over what stood there before."""
        line = text.replace("\x1b[A", "").strip()
        if line and line != self.last:
            self.file.write(f"{textwrap.fill(line, _LINE_WIDTH, subsequent_indent='  ', break_on_hyphens=False)}\n")
            self.last = line

    def flush(self) -> None:
        """Show what was written."""
        self.file.flush()
