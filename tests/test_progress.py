"""Progress: it moves while a unit takes long, is a bar in a terminal only, and plain lines elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from anyio.from_thread import start_blocking_portal

from pt_cascade import progress
from pt_cascade.progress import seconds_left, show_note, show_progress, show_step

NESTED = """
from pt_cascade.progress import show_progress
with show_progress("outer", "query", 2, shown=True) as outer:
    for _ in range(2):
        with show_progress("inner", "doc", 3, shown=True) as inner:
            for _ in range(3):
                inner.update(1)
        outer.update(1)
"""


class Terminal(io.StringIO):
    """A terminal, or not, that tells when it has been written to ``often`` enough."""

    def __init__(self, *, terminal: bool, often: int) -> None:
        """Begin empty."""
        super().__init__()
        self.terminal, self.left, self.enough = terminal, often, threading.Event()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.terminal

    def write(self, text: str) -> int:
        """Count what is more than white space."""
        self.left -= bool(text.strip())
        if self.left <= 0:
            self.enough.set()
        return super().write(text)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display_moves_while_one_unit_takes_long(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """Nothing is counted, and it is drawn again all the same: the elapsed time is another one."""
    monkeypatch.setattr(progress, "_BAR_SECONDS", 0.3)
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.3)
    file = Terminal(terminal=terminal, often=5)
    with show_progress("encode", "doc", 7, shown=True, file=file):
        assert file.enough.wait(timeout=60)
    times = re.findall(r"\[(\d\d:\d\d)", file.getvalue())
    assert {"00:00", "00:01"} <= {*times}
    assert ("\r" in file.getvalue()) == terminal


def test_a_pipe_gets_plain_lines() -> None:
    """Golden lines but for the rate; no carriage return and no escape code, also of a bar within a bar."""
    ran = subprocess.run([sys.executable, "-c", NESTED], capture_output=True, check=True)
    shown = re.sub(r"\[.*?\]", "[]", ran.stderr.decode())
    inner = ["inner: 0/3 []", "inner: 3/3 []"]
    assert shown == "\n".join(["outer: 0/2 []", *inner, *inner, "outer: 2/2 []", ""])
    assert ran.stdout == b""


def test_a_terminal_gets_bars_that_fit() -> None:
    """In a pseudo-terminal of unknown size, which counts as 80 columns, as in one of 60."""
    for columns in (0, 60):
        control, terminal = pty.openpty()
        environment = {**os.environ, "COLUMNS": str(columns or "")}
        ran = subprocess.run([sys.executable, "-c", NESTED], stderr=terminal, env=environment, check=True)
        os.close(terminal)
        shown = os.read(control, 1 << 16).decode()
        os.close(control)
        assert ran.returncode == 0
        drawn = re.split(r"[\r\n]|\x1b\[A", shown)
        assert any(line.startswith("outer: 100%|") for line in drawn)
        assert max(map(len, drawn)) in range((columns or 80) - 3, columns or 80)


def test_a_line_of_a_file_is_no_wider_than_80_columns() -> None:
    """A long note goes on in the next line."""
    file, note = io.StringIO(), f"left: {', '.join(f'stage_{n} 00:0{n}' for n in range(9))}"
    with show_progress("run", "query", 5, shown=True, file=file) as bar:
        show_note(note)
        bar.refresh()
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert note in " ".join(line.strip() for line in lines)


def test_a_wait_is_shown_in_a_terminal_alone() -> None:
    """With its step, and erased at its end; nothing in a pipe."""
    code = """
from pt_cascade.progress import show_step, show_wait
with show_wait("loading models"):
    show_step("bi_encoder")
    __import__("time").sleep(1.5)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr == b""
    control, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=terminal, check=True)
    os.close(terminal)
    shown = os.read(control, 1 << 16).decode()
    os.close(control)
    assert "loading models [00:00]" in shown
    assert "loading models [00:01, bi_encoder]" in shown
    assert shown.rstrip("\r").rpartition("\r")[2].strip() == ""


def test_nothing_is_shown_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """No output and no thread; what is counted may be counted all the same."""
    threads = threading.active_count()
    with show_progress("encode", "doc", None, shown=False) as bar:
        bar.update(3)
        assert threading.active_count() == threads
    assert capsys.readouterr() == ("", "")


class Bare:
    """A file without ``isatty``, as some servers put in the place of stderr."""

    def __init__(self) -> None:
        """Begin empty."""
        self.text = ""

    def write(self, text: str) -> None:
        """Add the text."""
        self.text += text

    def flush(self) -> None:
        """Nothing is held back."""


@pytest.mark.parametrize("shown", [True, False])
def test_stderr_may_be_missing_or_not_know_whether_it_is_a_terminal(monkeypatch: pytest.MonkeyPatch, *, shown: bool) -> None:
    """Without stderr nothing is shown; without ``isatty`` it gets lines."""
    for file in (None, Bare()):
        monkeypatch.setattr(sys, "stderr", file)
        with show_progress("encode", "doc", 3, shown=shown) as bar:
            bar.update(3)
    assert ("encode: 3/3" in file.text) == shown


def test_the_clock_stops_with_an_error() -> None:
    """The error goes through, and no thread is left."""
    threads = threading.active_count()
    file = io.StringIO()

    def count() -> None:
        with show_progress("encode", "doc", None, shown=True, done=2, file=file) as bar:
            bar.update(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count()
    assert threading.active_count() <= threads + 1  # tqdm's own
    assert [re.sub(r"\[.*\]", "[]", line) for line in file.getvalue().splitlines()] == ["encode: 2/? []", "encode: 3/? []"]


def test_a_bar_that_is_not_shown_counts_in_the_bar_around_it() -> None:
    """After the name of the step; without a bar around it nothing is shown."""
    file = io.StringIO()
    with show_progress("score", "query", 2, shown=True, file=file) as outer:
        show_step("mono_t5")
        with show_progress("", "doc", 30, shown=False) as inner:
            inner.update(7)
            inner.refresh()
            outer.refresh()
        show_step("duo_t5")
        outer.refresh()
    shown = [re.sub(r"\[[^,]*, +[^],]*", "[", line) for line in file.getvalue().splitlines()]
    assert shown == ["score: 0/2 []", "score: 0/2 [, mono_t5 23%]", "score: 0/2 [, duo_t5]"]
    show_step("alone")
    with show_progress("", "doc", 3, shown=False) as bar:
        bar.update(3)


def test_the_seconds_that_are_left_are_those_of_the_line() -> None:
    """30 of 40 units are left when 10 took 5 s, as the line says; 20 more that were done before do not count."""
    for done in (0, 20):
        with show_progress("run", "query", 40 + done, done=done, shown=True, file=(file := io.StringIO())) as bar:
            bar.update(10)
            bar.start_t -= 5
            bar.refresh()
            assert abs(seconds_left(bar) - 15) < 1
        assert re.search(r"<00:1[45]", file.getvalue().splitlines()[1])


def test_two_threads_show_each_its_own_step() -> None:
    """Both bars are open while both steps are named, and while a hidden bar counts in each."""
    files, together = {"mono_t5": io.StringIO(), "duo_t5": io.StringIO()}, threading.Barrier(2, timeout=60)

    def work(step: str) -> None:
        with show_progress("score", "query", 2, shown=True, file=files[step]) as bar:
            together.wait()
            show_step(step)
            together.wait()
            with show_progress("", "doc", 30, shown=False) as inner:
                inner.update(7)
                inner.refresh()
                together.wait()
                bar.refresh()
                together.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, files))
    for step, file in files.items():
        assert re.findall(r", (\w+ 23%)\]", file.getvalue())[-1:] == [f"{step} 23%"]


def test_a_task_of_another_thread_counts_in_the_bar_of_the_thread_that_started_it() -> None:
    """As the calls of a language model do, which run in the event loop of a thread of its own."""
    file = io.StringIO()

    async def judge() -> None:
        with show_progress("", "doc", 30, shown=False) as inner:
            inner.update(7)
            inner.refresh()

    with show_progress("score", "query", 2, shown=True, file=file) as outer, start_blocking_portal() as portal:
        show_step("llm_judge")
        portal.call(judge)
        outer.refresh()
    assert ", llm_judge 23%]" in file.getvalue()


def test_a_hidden_bar_does_not_let_a_warning_be_shown_again() -> None:
    """Python forgets which warnings it has shown when the filters change, so a stage's hidden bar must not change them."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(3):
            warnings.warn("once", UserWarning, stacklevel=1)
            with show_progress("stage", "doc", 1, shown=False):
                pass
    assert len(shown) == 1
