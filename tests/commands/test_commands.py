"""The command line, and what its commands show, with real MiniLM; random weights are named.

The quickstart of pydocs, which encodes a thousand documents, is in test_documents.py.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import string
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from toys.folders import write_folder
from toys.lines import paragraphs

import pt_cascade
from pt_cascade import commands
from pt_cascade.cli import COMMANDS, build_parser, main, parse_arguments
from pt_cascade.collections import make_collection
from pt_cascade.collections.records import FileDocuments
from pt_cascade.commands import search
from pt_cascade.errors import CascadeError
from pt_cascade.execution.comparison import Comparison
from pt_cascade.execution.defaults import default_cascade
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

# scipy's word where a measure differs by the same amount for each of a dozen queries
pytestmark = pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")

ENGINES = [pytest.param("pisa", id="pisa"), pytest.param("terrier", id="terrier", marks=pytest.mark.java)]
SYSTEMS = ["bm25 → 1000", "· bi_encoder", "· {} → 20"]
FUSED = "· fused(0.4, 0.3, 0.3)"
SUBJECTS = {
    "car": "automobile",
    "doctor": "physician",
    "film": "movie",
    "ocean": "sea",
    "child": "kid",
    "shop": "store",
    "road": "street",
    "rock": "stone",
    "boat": "ship",
    "house": "home",
    "picture": "image",
    "job": "occupation",
}
# grade and text: BM25 misses the synonyms and likes the common words, so that the stages disagree
DOCUMENTS = (
    (2, "An ancient {synonym} close to the station."),
    (1, "The {word} by the railway."),
    (0, "Nobody said a word about the {synonym} in the garden."),
    (0, "Old friends met near the old station."),
    (0, "Tea with milk for the {word}, please."),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A collection of 60 short documents and 12 judged queries, written as a folder."""
    docs, judged = [], []
    for word, synonym in SUBJECTS.items():
        for n, (grade, text) in enumerate(DOCUMENTS):
            told = f"{text.format(word=word, synonym=synonym)} {'It was a long time ago. ' * (len(docs) % 3)}"
            docs.append({"docno": f"{word}{n}", "text": told.strip()})
            judged.append((word, f"{word}{n}", grade))
    topics = pd.DataFrame({"qid": [*SUBJECTS], "query": [f"old {word} near the station" for word in SUBJECTS]})
    path = tmp_path_factory.mktemp("collection") / "small"
    write_folder(make_collection("small", topics, pd.DataFrame(judged, columns=["qid", "docno", "label"]), docs), path)
    return str(path)


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One cache for this file, so that 60 documents are encoded once."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def small(folder: str, cache_folder: str, minilm: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:  # noqa: ARG001 - needs it
    """The collection, with the file's own cache, on one thread: so little text is slower on several, the more so when busy."""
    monkeypatch.setenv("PT_CASCADE_CACHE", cache_folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)


# --- the command line


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version says the package's, and ends well."""
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert (end.value.code, capsys.readouterr().out) == (0, f"pt_cascade {pt_cascade.__version__}\n")


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        ([], "the following arguments are required: command"),
        (["sort"], "invalid choice: 'sort'"),
        (["search"], "the following arguments are required: query"),
        (["quickstart", "--engine", "lucene"], "invalid choice: 'lucene'"),
        (["serach", "sum"], "did you mean 'search'?"),
        (["sweep", "table", "--qrels", "q", "--tial", "keep"], "unrecognized arguments: --tial keep; did you mean '--tail'?"),
        (["sweep", "table", "--qrels", "q", "--K1", "10"], "unrecognized arguments: --K1 10; did you mean '--k1'?"),
        (["search", "sum", "--time-limit-ms", "bi_encoder"], "'bi_encoder' is not STAGE=MS"),
        (["search", "sum", "--time-limit-ms", "bi_encoder=0"], "'bi_encoder=0' is not STAGE=MS: '0' is not a number above 0"),
        (["profile", "--seconds", "0"], "argument --seconds: '0' is not a number above 0"),
        (["quickstart", "--engine", "pias"], "did you mean 'pisa'?"),
        (["quickstart", "--reranker", "a", "--cascade", "b"], "not allowed with argument --reranker; give one of them"),
    ],
)
def test_what_cannot_be_parsed_is_one_line(argv: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2; the problem and where the usage is on standard error, nothing on standard output."""
    with pytest.raises(SystemExit) as end:
        main(argv)
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    program = f"pt-cascade {argv[0]}" if argv and argv[0] in COMMANDS else "pt-cascade"
    assert err.startswith(f"{program}: ")
    assert err.endswith((f"; see {program} --help\n", f"? See {program} --help\n"))
    assert problem in err
    assert err.count("\n") == 1


def test_every_command_is_listed_and_has_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """COMMANDS names the files of pt_cascade.commands, each with add_arguments and execute; --help tells what each does."""
    monkeypatch.setenv("COLUMNS", "80")
    root = Path(commands.__path__[0])
    files = {path.stem: path.relative_to(root).with_suffix("") for path in root.rglob("*.py")}
    assert set(COMMANDS) == set(files) - {"__init__", "cascades", "paths", "sources"}
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    whole = capsys.readouterr().out
    assert end.value.code == 0
    assert max(map(len, whole.splitlines())) <= 80
    examples = re.findall(r"^  pt-cascade (.*)$", whole, flags=re.MULTILINE)
    walk = ["quickstart", "score", "profile", "choose", "report", "run"]
    assert [parse_arguments(shlex.split(line)).command for line in examples] == walk
    for name, purpose in COMMANDS.items():
        assert f"\n  {name:<11} {purpose}\n" in whole
        command = import_module(".".join(["pt_cascade.commands", *files[name].parts]))
        assert callable(command.add_arguments)
        assert callable(command.execute)
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        told = capsys.readouterr().out
        assert end.value.code == 0
        assert told.startswith(f"usage: pt-cascade {name}")
        assert purpose in " ".join(told.split())
        options = re.findall(r"^  (--\w+|\w+)(?: \S+)?(?: .*\S)?$", told, flags=re.MULTILINE)
        wanted = {"--collection", "--engine", "--reranker"}
        wanted = {"TABLE", "--collection", "--tail", "--grid", "--rel"} if name in ("sweep", "choose", "report") else wanted
        own = {"run": {"CASCADE", "--out"}, "merge": {"FOLDER"}, "status": {"FOLDER"}, "experiment": {"action"}, "doctor": set()}
        wanted = {"stages": {"stage"}, "cache": {"--kind", "--yes"}, **own}.get(name, wanted)
        assert wanted <= set(options)
        examples = told.partition("\nexamples:\n")[2].splitlines()
        assert examples
        assert max(map(len, examples)) <= 80
        assert {parse_arguments(shlex.split(line)[1:]).command for line in examples} == {name}


@pytest.mark.parametrize("name", ["stages", "cache list", "experiment validate"])
def test_examples_that_need_nothing_run(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example of the help that needs neither a collection nor files of an earlier command ends with 0, from a clone."""
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(SystemExit):
        main([name.split(maxsplit=1)[0], "--help"])
    examples = re.findall(rf"^  pt-cascade ({name}.*)$", capsys.readouterr().out, flags=re.MULTILINE)
    assert examples
    assert [main(shlex.split(line)) for line in examples] == [0] * len(examples)


def test_shell_completion_knows_every_command_and_option() -> None:
    """Shtab makes a script of the parser; its words are those that the parser takes."""
    shtab = pytest.importorskip("shtab")
    script = shtab.complete(build_parser(), "bash")
    assert f"_shtab_pt_cascade_subparsers=({' '.join(COMMANDS)})" in script
    assert re.search(r"_shtab_pt_cascade_cache_option_strings=\(-h --help --kind --yes\)", script)


INTERRUPTED = "interrupted; the same command goes on after the last block of vectors or scores kept"


def noted(error: BaseException) -> BaseException:
    """Add the note of an interrupted task to an error."""
    error.add_note("4 of 12 queries are saved")
    return error


def ending(error: BaseException) -> Callable[[Namespace], Iterator[str]]:
    """Make a command that shows a line, then ends in an error."""

    def execute(_: Namespace) -> Iterator[str]:
        yield "first"
        raise error

    return execute


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (CascadeError("cannot", ["a is b"], fix="c"), 1, "pt-cascade search: cannot: a is b. Fix: c\n"),
        (KeyboardInterrupt(), 130, f"{INTERRUPTED}\n"),
        (noted(KeyboardInterrupt()), 130, "interrupted; 4 of 12 queries are saved\n"),
        (noted(CascadeError("cannot")), 1, "pt-cascade search: cannot\n4 of 12 queries are saved\n"),
    ],
)
def test_our_errors_are_shown_without_a_traceback(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was shown before stays shown; the exact message, and nothing else, goes to standard error."""
    monkeypatch.setattr(search, "execute", ending(error))
    assert main(["search", "sum"]) == status
    assert capsys.readouterr() == ("first\n", message)


def test_data_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what a command prints, nor an error, nor a warning clears the screen."""

    def execute(_: Namespace) -> Iterator[str]:
        yield "text \x1b[2J"
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("stage \x1b[2J", stacklevel=1)
        raise CascadeError("docno \x1b[2J")

    monkeypatch.setattr(search, "execute", execute)
    assert main(["search", "sum"]) == 1
    out, err = capsys.readouterr()
    assert out == "text \\x1b[2J\n"
    assert err == "pt-cascade: stage \\x1b[2J\npt-cascade search: docno \\x1b[2J\n"


def test_an_unexpected_error_is_one_paragraph_with_status_70(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is named, and the printed command shows where it is; 70 is EX_SOFTWARE of sysexits.h."""
    monkeypatch.setattr(search, "execute", ending(ZeroDivisionError("division by zero")))
    assert main(["search", "my query"]) == 70
    out, err = capsys.readouterr()
    assert out == "first\n"
    assert " ".join(err.split()) == (
        "pt-cascade search: an unexpected error: ZeroDivisionError: division by zero."
        " Fix: report what pt-cascade search 'my query' --debug prints"
    )
    printed = re.search("pt-cascade (search .*) prints", err)
    assert printed
    with pytest.raises(ZeroDivisionError):
        main(shlex.split(printed[1]))


@pytest.mark.parametrize("words", [["--debug", "search", " "], ["search", "--debug", " "], ["search", " ", "--debug"]])
def test_debug_shows_the_traceback_of_any_error(words: list[str]) -> None:
    """Wherever --debug stands, also one of our errors is raised."""
    with pytest.raises(CascadeError, match="the query is empty"):
        main(words)


def test_the_program_ends_with_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program: status 1, the whole message, before anything is built."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    command = [sys.executable, "-m", "pt_cascade.cli", "search", " "]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        'pt-cascade search: this search is not valid: the query is empty. Fix: pt-cascade search "cumulative sum"\n'
    )
    assert list(tmp_path.iterdir()) == []


def test_an_option_is_the_attribute_of_its_name() -> None:
    """Golden: the defaults of --help, and one value each."""
    given = vars(parse_arguments(["quickstart", "--collection", "./x", "--engine", "terrier", "--queries", "7", "--reranker", "m"]))
    assert [given[name] for name in ("collection", "engine", "queries", "reranker", "cascade")] == ["./x", "terrier", 7, "m", None]
    given = vars(parse_arguments(["quickstart"]))
    assert [given[name] for name in ("collection", "engine", "queries", "reranker", "cascade")] == [
        "pydocs",
        None,
        None,
        None,
        None,
    ]


# --- quickstart


@dataclass(frozen=True)
class Shown:
    """What the quickstart printed, read back: measures by system, pairs by stage, and the Python at its end."""

    text: str

    @property
    def measures(self) -> dict[str, tuple[str, ...]]:
        """nDCG@10, RR@10 and R@100 of each system, in their order."""
        rows = re.findall(r"^ *(bm25 .*?\S|· .*?\S) +(\d\.\d{3}) +(\d\.\d{3}) +(\d\.\d{3})(?: |$)", self.text, flags=re.MULTILINE)
        return {name: tuple(values) for name, *values in rows}

    @property
    def pairs(self) -> dict[str, float]:
        """Model pairs a query of each stage, and of the cascade."""
        rows = re.findall(r"^(\w+) +[\d.]+ +[\d.]+ +([\d.]+) +[\d.,]+(?: +[\d.,]+)?$", self.text, flags=re.MULTILINE)
        return {name: float(value) for name, value in rows}

    @property
    def python(self) -> str:
        """The lines to paste."""
        return self.text.partition("In Python:\n\n")[2]


def shown(**options: object) -> Shown:
    """Run the quickstart in this process."""
    return Shown("\n".join(paragraphs("quickstart", "--details", *(f"--{name}={value}" for name, value in options.items()))))


def executed(lines: str) -> Comparison:
    """Run the printed lines as a person would; return what they compared."""
    names: dict[str, Any] = {}
    exec(compile(lines, "pasted", "exec"), names)  # noqa: S102 - the lines under test
    assert names["cascade"].cutoffs == names["choice"].cutoffs
    compared: Comparison = names["compared"]
    return compared


def assert_same(told: Shown, compared: Comparison) -> None:
    """The pasted lines gave the printed numbers."""
    values = compared.effectiveness[["nDCG@10", "RR@10", "R@100"]].to_numpy()
    assert values == pytest.approx(np.array([*told.measures.values()], float), abs=0.0005 + 1e-9)  # printed with three digits
    assert len(values) == len(told.measures)
    cost = compared.cost.set_index("stage")
    assert cost["pairs"].to_dict() == pytest.approx(told.pairs, abs=0.05 + 1e-9)  # printed with one
    assert (cost["ms"] > 0).all()


def test_quickstart_measures_a_folder_and_its_lines_do_the_same(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size, three systems, p-values, costs; and the Python it prints, pasted in an empty folder, gives the same numbers."""
    told = shown(collection=small, engine="pisa")
    assert told.text.startswith(f"{small}: 60 documents, 12 judged queries\n")
    systems = [*(system.format("late_interaction") for system in SYSTEMS), FUSED]
    assert list(told.measures) == systems
    assert [*told.pairs] == ["bm25", "bi_encoder", "late_interaction", "cascade"]
    assert told.pairs["cascade"] == pytest.approx(told.pairs["bi_encoder"] + told.pairs["late_interaction"], abs=0.11)
    assert "p: paired t-test over 12 queries against bm25 → 1000, Holm-corrected.\n" in told.text
    assert "\nThe weights of the fusion were chosen on cranfield.\n" in told.text
    assert re.search(
        r"^Sweep\(Grid\(.* × 1 fusion of bm25 → bi_encoder → late_interaction; nDCG@10, R@100; 12 queries\)$",
        told.text,
        re.MULTILINE,
    )
    assert "\nThe cheapest cut-offs that lose at most 0.02 nDCG@10 against the deepest:\n\nCannot tell: about " in told.text
    assert re.search(r"third\s+stage", told.text)
    assert float(told.measures[FUSED][0]) > float(told.measures[systems[0]][0])
    line = re.search(r"^At the command line:\n\n(pt-cascade search .*) \\\n(.*)$", told.text, flags=re.MULTILINE)
    assert main([*shlex.split(line[1] + line[2])[1:], "--engine", "pisa", "--top", "2"]) == 0
    monkeypatch.chdir(tmp_path)
    assert_same(told, executed(told.python))
    assert list(tmp_path.iterdir()) == []  # index and vectors are in the cache


def test_quickstart_finds_what_it_stored(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call reads the documents three times: for their name, the index and the vectors; the second for their name only.

    ``score`` finds the scores of the quickstart.
    """
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    reads = []
    read = FileDocuments.__iter__
    monkeypatch.setattr(FileDocuments, "__iter__", lambda self: (reads.append(row) or row for row in read(self)))
    first = shown(collection=small, engine="pisa", queries=4)
    assert len(reads) == 3 * 60
    built = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("vectors-*/*")}
    assert built
    reads.clear()
    assert shown(collection=small, engine="pisa", queries=4).measures == first.measures
    assert len(reads) == 60
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("vectors-*/*")} == built
    monkeypatch.setattr("pt_cascade.execution.scoring.score.score", lambda *_, **__: pytest.fail("it is scored again"))
    paragraphs("score", "--collection", small, "--engine", "pisa", "--queries", 4, "--out", tmp_path / "table")
    assert ScoreTable.load(tmp_path / "table").stages == ("bm25", "bi_encoder", "late_interaction")


@pytest.mark.parametrize(("queries", "test"), [(5, "p: paired t-test over 5 queries"), (1, "One query cannot be tested.")])
def test_quickstart_takes_fewer_queries(queries: int, test: str, small: str) -> None:
    """--queries takes the first so many, and says so in both languages; a single one has no p-value."""
    told = shown(collection=small, engine="pisa", queries=queries)
    assert f"60 documents, {count_of(queries, 'judged query')}\n" in told.text
    assert test in told.text
    assert ("p nDCG@10" in told.text) == (queries > 1)
    assert ("The cheapest cut-offs" in told.text) == ("ptc.choose" in told.python) == (queries > 1)
    assert f"topics     = collection.judged({queries})\n" in told.python
    assert len(told.measures) == 4


@pytest.fixture(scope="module")
def precise(tmp_path_factory: pytest.TempPathFactory, t5_tokenizer: Path) -> dict[str, str]:
    """A tiny cross-encoder and a tiny T5, both of random weights: they rank at random, but they run as real ones do."""
    torch.manual_seed(0)
    bert, t5 = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("t5")
    letters = [*string.ascii_lowercase, *string.digits]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "initializer_range": 0.5}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=192, num_labels=1, **size)
    transformers.BertForSequenceClassification(config).save_pretrained(bert)
    (bert / "vocab.txt").write_text("\n".join(words))
    (bert / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 192}))
    size = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 32128, "n_positions": 512}
    config = transformers.T5Config(**size, decoder_start_token_id=0)
    transformers.T5ForConditionalGeneration(config).save_pretrained(t5)
    for file in t5_tokenizer.glob("*token*"):
        shutil.copy(file, t5)
    return {"cross_encoder": str(bert), "mono_t5": str(t5)}


@pytest.mark.parametrize(
    ("name", "engine"), [("cross_encoder", "pisa"), pytest.param("mono_t5", "terrier", marks=pytest.mark.java)]
)
def test_quickstart_puts_a_precise_model_last(
    name: str, engine: str, small: str, precise: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--reranker takes the place of late interaction, in the tables and in the Python, which needs the texts. Random weights."""
    told = shown(collection=small, engine=engine, queries=4, reranker=precise[name])
    assert list(told.measures) == [system.format(name) for system in SYSTEMS]
    assert [*told.pairs] == ["bm25", "bi_encoder", name, "cascade"]
    assert told.pairs[name] > 0
    monkeypatch.chdir(tmp_path)
    assert_same(told, executed(told.python))


@pytest.mark.parametrize(
    ("line", "notes", "systems"),
    [
        ("bm25 % 7", [], 1),
        ("bm25 % 30 >> bi_encoder", ["p: paired t-test over 4 queries against bm25 → 30, Holm-corrected."], 2),
    ],
)
def test_quickstart_takes_a_cascade(
    line: str, notes: list[str], systems: int, small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--cascade takes the place of the default cascade, also in the Python; one system has no test, and no cut-off no depth."""
    told = shown(collection=small, engine="pisa", queries=4, cascade=line)
    assert len(told.measures) == systems
    assert [text for text in told.text.splitlines() if text.startswith(("p: ", "The cascade returns"))] == notes
    assert "not in the table" not in told.text
    assert f"ptc.parse_cascade({line!r}, collection, engine='pisa')" in told.python
    monkeypatch.chdir(tmp_path)
    executed(told.python)


# --- search


def stages_of(text: str) -> list[tuple[str, list[str]]]:
    """Read what search printed: each stage's first line, and the docnos that it lists."""
    parts = re.findall(r"^(\S.*? → \d+   \(.*\))\n((?:  .*\n)*)", text, flags=re.MULTILINE)
    return [(heading, re.findall(r"^  \d+ .*?\d\.\d{3} ([a-z]+\d) ", rows, flags=re.MULTILINE)) for heading, rows in parts]


@pytest.mark.filterwarnings("default::pt_cascade.errors.CascadeWarning")
def test_search_limits_the_time_of_a_stage(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One batch of 16 documents is scored whatever the limit; the others follow, and a line on standard error counts them."""
    words = ["search", "old boat near the station", "--collection", small, "--cascade", "bm25 % 60 >> bi_encoder % 60"]
    assert main([*words, "--on-error", "keep", "--time-limit-ms", "bi_encoder=0.000001"]) == 0
    said = capsys.readouterr()
    late = re.search(r"stage 'bi_encoder' did not score (\d+) documents? of 1 query in its time limit", said.err)
    ranked = re.search(r"bi_encoder → 60   \(.*, 16 model pairs; (\d+) ranked", said.out)
    assert late is not None
    assert ranked is not None
    assert int(late[1]) == int(ranked[1]) - 16
    assert main([*words, "--time-limit-ms", "bi_encoder=100000"]) == 0
    assert "did not score" not in capsys.readouterr().err


@pytest.mark.parametrize("engine", ENGINES)
def test_search_lists_every_stage(engine: str, small: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each stage in turn with its best documents; the last list begins as the cascade's own ranking does."""
    query = "old boat near the station"
    assert main(["search", query, "--collection", small, "--engine", engine, "--top", "4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("'old boat near the station' in bm25 → 1000 · bi_encoder → 100 · late_interaction · fused(")
    assert re.search(r"^\d[\d.]* ms in all, models loaded$", out, flags=re.MULTILINE)
    listed = stages_of(out)
    assert [heading.split()[0] for heading, _ in listed] == ["bm25", "bi_encoder", "late_interaction"]
    topics = pd.DataFrame({"qid": ["1"], "query": [query]})
    cascade = default_cascade(small, engine=engine)
    for n, (heading, docnos) in enumerate(listed, start=1):
        found = (cascade if n == len(cascade) else cascade.prefix(n)).transform(topics).sort_values("rank")
        assert docnos == found["docno"].head(4).tolist()
        assert f"{len(found)} passed on)" in heading
    assert len({tuple(docnos) for _, docnos in listed}) > 1


def test_search_shows_texts_and_moves(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside each document stand its text and, after the first stage, its move; removed documents are counted."""
    main(["search", "old boat near the station", "--collection", small, "--engine", "pisa", "--top", "30"])
    out = capsys.readouterr().out
    assert len(re.findall(r"boat0 +An ancient ship close to the station\.", out)) == 3
    first, *later = out.split(" ms, ")
    assert len(later) == 2
    assert not re.search("[↑↓]", first)
    assert all(re.search(r"[↑↓]\d", part) for part in later)
    assert re.search(r"^  cut: \d+ documents?, from rank 21: \w+", later[-1], flags=re.MULTILINE)


@pytest.mark.parametrize("top", [1, 3])
def test_search_lists_no_more_than_top(top: int, small: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--top bounds each stage's list."""
    main(["search", "old house", "--collection", small, "--engine", "pisa", "--top", str(top)])
    assert [len(docnos) for _, docnos in stages_of(capsys.readouterr().out)] == [top] * 3


@pytest.mark.parametrize("engine", [pytest.param("pisa"), pytest.param("terrier", marks=pytest.mark.java)])
@pytest.mark.parametrize("query", ["!!!", "лев"])
def test_search_says_why_it_finds_nothing(query: str, engine: str, small: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Once, on standard error, where the query has no word that the index can contain."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["search", query, "--collection", small, "--engine", engine]) == 0
    err = capsys.readouterr().err.splitlines()
    told = f"pt-cascade: bm25: 1 query with no word that the index can contain, e.g. qid '1', {query!r}"
    assert [line for line in err if line.startswith("pt-cascade: ")] == [told]


def test_search_puts_a_precise_model_last(small: str, precise: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """--reranker takes the place of late interaction here too. Random weights."""
    main(["search", "old house", "--collection", small, "--engine", "pisa", "--reranker", precise["cross_encoder"]])
    assert stages_of(capsys.readouterr().out)[-1][0].startswith("cross_encoder → 20 ")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_search_that_finds_nothing_says_so(engine: str, small: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A word that no document has: no document in any stage, and status 0."""
    assert main(["search", "zeppelin", "--collection", small, "--engine", engine]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^(\w+) (?:→|·) .*0 ranked, 0 passed on\)\n  no document\n", out, flags=re.MULTILINE) == [
        "bm25",
        "bi_encoder",
        "late_interaction",
    ]


@pytest.mark.parametrize("command", [["quickstart"], ["search", "old house"]])
def test_a_missing_collection_is_reported(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command: status 1, one exact line on standard error, and nothing is built."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    assert main([*command, "--collection", f"{tmp_path}/none"]) == 1
    assert capsys.readouterr() == (
        "",
        f"pt-cascade {command[0]}: there is no folder {tmp_path}/none. "
        "Fix: a folder with docs.jsonl.gz, topics.tsv and qrels.txt, or a name such as irds:vaswani or pydocs\n",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["search", "sum"], ["profile"], ["score", "--out", "scores"]])
def test_a_line_is_checked_before_the_collection_is_opened(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of two faults the one that costs no wait is named."""
    assert main([*command, "--collection", "./nowhere", "--cascade", "bm52 % 10"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "there is no stage 'bm52'; pt-cascade stages lists them; did you mean 'bm25'?" in told
    assert "nowhere" not in told.partition("Fix:")[0]


@pytest.mark.parametrize("value", ["0", "-3", "1.5", "many"])
@pytest.mark.parametrize("command", [["quickstart", "--queries"], ["profile", "--repeats"], ["search", "sum", "--top"]])
def test_a_count_below_1_is_refused(command: list[str], value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and the option's name, before a collection is opened."""
    with pytest.raises(SystemExit) as end:
        main([*command[:-1], f"{command[-1]}={value}"])
    assert end.value.code == 2
    assert f"argument {command[-1]}: {value!r} is not a whole number, 1 or more; see" in capsys.readouterr().err
