"""The command line ``pt-cascade``."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import signal
import sys
import textwrap
import threading
import warnings
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from pt_cascade import __version__
from pt_cascade.errors import CascadeError, did_you_mean, escape
from pt_cascade.files import naming_refusals
from pt_cascade.progress import write_above
from pt_cascade.reporting.cures import translate
from pt_cascade.reporting.widths import wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

GROUPS = {
    "first steps": {
        "quickstart": "compare a three-stage cascade with its first stage",
        "search": "show the ranking of each stage for one query",
        "stages": "list the stages",
    },
    "design": {
        "score": "score each pair once, or import TREC runs, into a table",
        "profile": "time each stage of a cascade, to predict costs",
        "sweep": "measure every cut-off vector (a cut-off for each stage)",
        "choose": "choose cut-offs by cross-validation",
    },
    "run": {
        "run": "run a cascade over many queries into TREC runs; resumes if stopped",
        "status": "show how far a run is",
        "merge": "merge the parts of a run",
    },
    "publish": {
        "report": "choose cut-offs, and write an HTML page that shows the sweep",
        "experiment": "run experiments of YAML files, and verify their numbers",
    },
    "this machine": {
        "doctor": "show what is installed here, and what the stages lack",
        "cache": "list or clear what is cached",
    },
}
COMMANDS = {name: purpose for group in GROUPS.values() for name, purpose in group.items()}
DEBUG = "--debug"
_FOLDERS = {"run": "batch.", "merge": "batch.", "status": "batch.", "experiment": "experiments.", "doctor": "machine."}
_KEPT = dict.fromkeys(
    ("quickstart", "search", "score", "profile", "run", "experiment"),
    "the same command goes on after the last block of vectors or scores kept",
) | dict.fromkeys(("sweep", "choose", "report"), "nothing is kept: the same command begins again")
_AGAIN = 0.1  # seconds
_CODE = re.compile(r"\s*(In Python|At the command line):\n")  # what follows is copied, so its lines stay whole
_EXAMPLES = """\
from a folder of your own to cut-offs, a page and a run:
  pt-cascade quickstart --collection ./folder
  pt-cascade score --collection ./folder --out scores
  pt-cascade profile --collection ./folder --out timings
  pt-cascade choose scores --collection ./folder --timings timings
  pt-cascade report scores --collection ./folder --timings timings
  pt-cascade run "bm25 % 76 >> bi_encoder % 13" --collection ./folder --out run
"""
_UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``pt-cascade``."""
    words = sys.argv[1:] if argv is None else argv
    command = next((word for word in words if word != DEBUG), "")
    options: dict[str, object] = {}
    warn = cache(lambda message: _warn([f"pt-cascade: {message}"], options))  # each message once
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without arrows shows a question mark
    try:
        with _whole_imports(), warnings.catch_warnings():
            arguments = parse_arguments(words)
            options = vars(arguments)
            warnings.showwarning = lambda message, *_, **__: warn(str(message))
            for text in arguments.execute(arguments):
                shown = escape(text)
                with naming_refusals(os.path.realpath("/dev/stdout")):
                    print(shown if _CODE.match(shown) else wrap(shown), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: no message at exit either
        return 141
    except Exception as error:
        if DEBUG in words:
            raise
        _warn([f"pt-cascade {command}: {_explain(error, words)}", *getattr(error, "__notes__", [])], options)
        return getattr(error, "exit_code", 1 if isinstance(error, OSError) else _UNEXPECTED)
    except KeyboardInterrupt as error:
        kept = getattr(error, "__notes__", []) or ([_KEPT[command]] if command in _KEPT else [])
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again, it would interrupt this message
        _warn(["; ".join(["interrupted", *kept])], options)
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
        return 130
    return 0


def _explain(error: Exception, words: Sequence[str]) -> Exception:
    """Return an error with a message for users: of one that nobody foresaw, how to see where it was raised."""
    if isinstance(error, (OSError, CascadeError)):
        return error
    problem = f"{type(error).__name__}: {error}"
    return CascadeError("an unexpected error", [problem], fix=f"report what {shlex.join(['pt-cascade', *words, DEBUG])} prints")


@contextmanager
def _whole_imports() -> Iterator[None]:
    """Let Ctrl-C wait for the end of an import: native code would make an ImportError of it, or the import would lose it."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    before = [(number, signal.signal(number, _interrupt)) for number in (signal.SIGINT, signal.SIGALRM)]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or look again in a while if an import has begun in this module or below."""
    while frame is not None and frame.f_globals is not globals():
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _warn(messages: Sequence[str], options: Mapping[str, object]) -> None:
    """Print messages without their line of code, above the bars that are shown."""
    told = "\n".join(wrap(escape(translate(message, options))) for message in messages)
    write_above(told) if "tqdm" in sys.modules else print(told, file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """A parser that suggests the closest name for a misspelt command, option or choice."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - overloaded in argparse
        """Refuse unknown options here, as each command has its own."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = re.findall(r"--[a-z0-9-]+", self.format_usage())
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(unknown[0].partition('=')[0], options)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Print the message in place of the usage, with the cure or the closest choice."""
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        message = re.sub("invalid float value: (.*)", r"\1 is not a number", message)
        cure = "; give one of them" * ("not allowed with" in message)
        cure += did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2])) if choice else ""
        told = escape(message) + cure
        told += f"{' See' if told.endswith('?') else '; see'} {self.prog} --help"
        self.exit(2, wrap(f"{self.prog}: {told}") + "\n")


class _GroupedParser(_Parser):
    """A parser whose help lists the commands by purpose, which argparse cannot."""

    def format_help(self) -> str:
        """Put the groups in the place of the one list of argparse."""
        groups = (
            "\n".join([f"{title}:", *(f"  {name:<11} {purpose}" for name, purpose in group.items())])
            for title, group in GROUPS.items()
        )
        return re.sub(r"positional arguments:\n.*?(?=\n\noptions:)", "\n\n".join(groups), super().format_help(), flags=re.DOTALL)


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; of the commands only the given one is imported."""
    words = [word for word in argv if word != DEBUG]
    parser = build_parser(words[:1])
    parser.set_defaults(words=words)
    return parser.parse_args(words)


def build_parser(commands: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Build the parser with the options of some commands, or of all, as a generator of shell completions needs it."""
    whole = argparse.RawDescriptionHelpFormatter
    about = "Ranking cascades on PyTerrier. pt-cascade COMMAND --help shows its options."
    parser = _GroupedParser(prog="pt-cascade", description=about, epilog=_EXAMPLES, formatter_class=whole)
    parser.add_argument("--version", action="version", version=f"pt_cascade {__version__}")
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of an error; also after a command")
    added = parser.add_subparsers(dest="command", required=True, metavar="command", parser_class=_Parser)
    for name, purpose in COMMANDS.items():
        command = added.add_parser(name, help=purpose, description=purpose, formatter_class=whole)
        if name in commands:
            module = import_module(f"pt_cascade.commands.{_FOLDERS.get(name, '')}{name}")
            module.add_arguments(command)
            command.epilog = f"examples:\n{textwrap.indent(module.EXAMPLES, '  ')}"
            command.set_defaults(execute=module.execute)
    return parser


if __name__ == "__main__":
    sys.exit(main())
