"""Runs of experiments: their numbers, their folders, and how they are verified."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import ir_measures
import pandas as pd
import pyterrier as pt
import pytest
from ir_measures import RR
from toys.experiments import RUNS, YAML, write_experiment
from toys.folders import write_folder

import pt_cascade as ptc
from pt_cascade.cli import main
from pt_cascade.collections.collection import make_collection
from pt_cascade.errors import ExperimentError
from pt_cascade.experiments.experiment import Experiment
from pt_cascade.experiments.matrix import BEGIN, END
from pt_cascade.experiments.verification import verify_numbers


@pytest.fixture
def opened(tmp_path: Path) -> Experiment:
    """The toy experiment."""
    return ptc.open_experiment(write_experiment(tmp_path))


def test_numbers_are_those_computed_by_hand(opened: Experiment) -> None:
    """Reciprocal ranks, times, recall and a difference."""
    done = opened.run()
    assert [one.state for one in verify_numbers(opened.file, done.numbers)] == ["OK"] * 9
    assert done.numbers["systems"]["first → 1 · second"] == {"RR": 0.5, "ms": 10.0, "recall": 0.5, "ceiling": 0.5}


def test_systems_run_in_an_experiment_of_pyterrier_with_the_same_numbers(opened: Experiment) -> None:
    """The reference is pt.Experiment over the same pipelines."""
    systems = opened.systems()
    table = pt.Experiment([*systems.values()], opened.topics.assign(query="q"), opened.qrels, [RR], names=[*systems])
    numbers = opened.run().numbers["systems"]
    assert dict(zip(table["name"], table["RR"], strict=True)) == {name: numbers[name]["RR"] for name in systems}


def test_the_folder_has_what_the_numbers_come_from(opened: Experiment) -> None:
    """Values of queries, a run, a table and the lock."""
    opened.run()
    folder = opened.folder
    queries = pd.read_csv(folder / "per_query.csv", dtype={"qid": str})
    of_last = queries[queries["system"] == "first → 1 · second"]
    assert dict(zip(of_last["qid"], of_last["RR"], strict=True)) == {"1": 0.0, "2": 1.0}
    run = ptc.trec.read_run(folder / "runs" / "first-2-second.res.gz").rename(columns={"qid": "query_id", "docno": "doc_id"})
    qrels = opened.qrels.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
    assert ir_measures.calc_aggregate([RR], qrels, run)[RR] == 0.75
    (table,) = (folder / "tables").iterdir()  # the first stage alone needs none of its own
    assert ptc.ScoreTable.load(table).covers((2, None))
    lock = json.loads((folder / "lock.json").read_text(encoding="utf-8"))
    assert {"experiment", "versions", "hardware", "commit", "qrels", "runs"} <= {*lock}
    assert {*lock["runs"]} == {"first", "second"}


def test_a_run_says_what_has_changed_since_the_one_before(opened: Experiment, tmp_path: Path) -> None:
    """A run with another score has another checksum."""
    assert opened.run().changes == ()
    assert opened.run().changes == ()
    (tmp_path / "second.res").write_text(RUNS["second"].replace("0.9", "0.8"), encoding="utf-8")
    (change,) = ptc.open_experiment(opened.path).run().changes
    assert change.startswith("runs.second: ")


def test_words_of_a_file_change_no_lock(opened: Experiment, tmp_path: Path) -> None:
    """The title has no effect on numbers, a cut-off has."""
    before = opened.run().lock["experiment"]
    assert ptc.open_experiment(write_experiment(tmp_path, YAML.replace("Two", "2"))).run().lock["experiment"] == before
    other = YAML.replace("cutoff: [1, 2]", "cutoff: [1, 2, 3]")
    assert ptc.open_experiment(write_experiment(tmp_path, other)).run().lock["experiment"] != before


@pytest.mark.parametrize(
    ("expected", "state"), [(0.7505, "OK"), (0.7515, "OKish"), (0.7485, "OKish"), (0.752, "FAIL"), (0.748, "FAIL")]
)
def test_a_number_is_ok_within_the_tolerance_and_okish_within_half_as_much_again(
    tmp_path: Path, expected: float, state: str
) -> None:
    """The tolerance is 0.001, of 0.75."""
    opened = ptc.open_experiment(write_experiment(tmp_path, YAML.replace("first % 2: {RR: 0.75", f"first % 2: {{RR: {expected}")))
    assert next(verify_numbers(opened.file, opened.run().numbers)).state == state


def test_verify_fails_with_the_line_of_each_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong number, and one of a row that there is not."""
    wrong = YAML.replace("{RR: 0.5, ms: 10}", "{RR: 0.6, ms: 10}").replace("    first % 1: {recall", "    frst % 1: {recall")
    file = write_experiment(tmp_path, wrong)
    assert main(["experiment", "verify", str(file)]) == 1
    told = capsys.readouterr()
    assert "7 OK, 0 OKish, 2 FAIL" in told.out
    said = " ".join(told.err.split())
    assert "two-queries.yaml:14: FAIL systems, first % 1 >> second, RR: 0.5, expected 0.6 ± 0.001" in said
    assert "two-queries.yaml:16: FAIL systems, frst % 1, recall: nothing, expected 0.5 ± 0; did you mean 'first → 1'?" in said
    cure = re.findall(r"Fix: pt-cascade (.*)", told.err)[-1]
    write_experiment(tmp_path)
    assert main(shlex.split(cure)) == 0
    shown = capsys.readouterr().out
    assert "9 OK, 0 OKish, 0 FAIL" in shown
    assert len(re.findall(r"^  OK ", shown, flags=re.MULTILINE)) == 9


def test_an_experiment_that_cannot_run_does_not_keep_others_from_being_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first lacks a run; the second is verified, and the end names the first."""
    write_experiment(tmp_path)
    (tmp_path / "a.yaml").write_text(YAML.replace("first.res", "none.res"), encoding="utf-8")
    assert main(["experiment", "verify", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "two-queries: 9 OK" in told.out
    assert "a.yaml: there is no file" in told.err


def test_a_file_that_cannot_run_alone_has_the_cure_of_its_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the key of the file, since the command has no option for it; with the cure, the file runs."""
    file = tmp_path / "one.yaml"
    text = "title: one\ncollection: {}\nqueries: 2\nstages: [{{stage: bm25, cutoff: 5}}]\nmeasures: RR\n"
    file.write_text(text.format("pydoc"), encoding="utf-8")
    assert main(["experiment", "verify", str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("pt-cascade experiment: unknown collection 'pydoc'")
    assert re.findall("Fix: (.*)", said) == ['collection: "pydocs"']
    file.write_text(text.format('"pydocs"'), encoding="utf-8")
    assert main(["experiment", "verify", str(file)]) == 0


@pytest.mark.parametrize("name", ["results.json", "lock.json"])
def test_a_damaged_file_of_results_is_named_with_its_cure(opened: Experiment, name: str) -> None:
    """The cure removes it, and the experiment runs again."""
    opened.run()
    (opened.folder / name).write_text("{", encoding="utf-8")
    with pytest.raises(ExperimentError, match="it is not JSON") as caught:
        opened.last_results() if name == "results.json" else opened.run()
    assert caught.value.fix == f"rm -r {opened.folder / name}"
    (opened.folder / name).unlink()
    assert opened.run().numbers["systems"]["first → 2"]["RR"] == 0.75


def test_choices_and_pruning_have_rows(tmp_path: Path) -> None:
    """A list of budgets is an axis; a margin of 0.4 keeps one document of each query."""
    more = YAML.replace(
        "cost:",
        "choose: {cheap: {budget_ms: [15, 100], percentile: ~, folds: 2}}\nprune: {margins: {first: [0.4]}, floor: 1}\ncost:",
    )
    opened = ptc.open_experiment(write_experiment(tmp_path, more))
    numbers = opened.run().numbers
    assert [*numbers["choices"]] == ["cheap, 15 ms", "cheap, 100 ms"]
    # a margin of 0.4 of the range keeps a of both queries, so the second stage sees 1 document: RR 0 and 1, as cut at 1
    row = numbers["pruning"]["first margin 0.4 of the range"]
    assert (row["docs_first"], row["RR"], row["ms"]) == (1.0, 0.5, 10.0)
    assert numbers["pruning"]["certified"]["rules"] == "none"


def test_list_writes_markdown_between_markers_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text beside the markers stays."""
    file = write_experiment(tmp_path)
    readme, page = tmp_path / "README.md", tmp_path / "matrix.html"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    assert main(["experiment", "list", str(file)]) == 0
    assert "not yet run here" in capsys.readouterr().out
    assert main(["experiment", "run", str(tmp_path)]) == 0
    assert main(["experiment", "list", str(tmp_path), "--out", str(readme)]) == 0
    assert main(["experiment", "list", str(tmp_path), "--out", str(page)]) == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n| experiment |")
    assert text.endswith(f"{END}\nafter\n")
    assert "| first % 1 >> second | 0.5000 | 10.0 |  |" in text
    assert "<td class=OK>OK</td>" in page.read_text(encoding="utf-8")
    assert main(["experiment", "list", str(file), "--out", "x.txt"]) == 1


SCRIPT = """\
import sys
print(f"| wrong | n | share |\\n|---|---|---|\\n| certificates | 50 | {sys.argv[1]} % (of 200) |\\n\\nSome words.")
"""
SCRIPTED = """\
title: A simulation
script: [simulate.py, '1.5']
tolerance: {n: 0, share: 0.1}
expected:
  wrong:
    certificates: {n: 50, share: 1.6}
"""


def test_the_numbers_of_a_script_are_those_of_the_tables_that_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is run by run and verify alone, with its arguments; what it prints beside tables has no effect."""
    (tmp_path / "simulate.py").write_text("this does not run", encoding="utf-8")
    file = tmp_path / "scripted.yaml"
    file.write_text(SCRIPTED, encoding="utf-8")
    for action in ("validate", "show", "list"):
        assert main(["experiment", action, str(file)]) == 0
    assert main(["experiment", "verify", str(file)]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "simulate.py ended with exit code 1: SyntaxError: invalid syntax. Fix:" in told
    (tmp_path / "simulate.py").write_text(SCRIPT, encoding="utf-8")
    assert main(["experiment", "verify", str(file)]) == 0
    opened = ptc.open_experiment(file)
    done = opened.last_results()
    assert done is not None
    assert done.numbers == {"wrong": {"certificates": {"n": 50.0, "share": 1.5}}}
    assert done.lock["script"]
    assert opened.systems() == {}
    (tmp_path / "simulate.py").write_text("print('no table')", encoding="utf-8")
    with pytest.raises(ExperimentError, match="the script printed no numbers"):
        opened.run()


@pytest.fixture
def live(tmp_path: Path) -> Experiment:
    """BM25 on a small folder, run in batches and timed."""
    texts = {"a": "sum of values", "b": "mean of values", "c": "sum and mean", "d": "a graph"}
    topics = pd.DataFrame({"qid": ["1", "2"], "query": ["sum values", "mean"]})
    qrels = pd.DataFrame({"qid": ["1", "2"], "docno": ["a", "b"], "label": [1, 1]})
    write_folder(
        make_collection("toy", topics, qrels, [{"docno": key, "text": text} for key, text in texts.items()]), tmp_path / "toy"
    )
    text = "title: Toy\ncollection: ./toy\nstages: [{stage: bm25, cutoff: [1, 2]}]\nmeasures: RR\n"
    (tmp_path / "live.yaml").write_text(f"{text}batch: {{shard_queries: 1}}\nprofile: {{queries: 2}}\n", encoding="utf-8")
    return ptc.open_experiment(tmp_path / "live.yaml")


def test_batches_have_the_ranking_of_the_replay(live: Experiment) -> None:
    """The run that ``run_batch`` wrote, live, and the one that was replayed from the table."""
    live.run()
    written = ptc.trec.read_run(live.folder / "batches" / "bm25-2" / "results" / "run.res.gz")
    pd.testing.assert_frame_equal(written, ptc.trec.read_run(live.folder / "runs" / "bm25-2.res.gz"))


def test_times_are_kept_while_nothing_they_depend_on_changes(live: Experiment) -> None:
    """A second run has the same milliseconds, to the last digit; a changed lock measures them again."""
    first, second = live.run(), live.run()
    assert second.changes == ()
    assert first.numbers["systems"] == second.numbers["systems"]
    assert first.numbers["systems"]["bm25 → 2"]["ms"] > 0
    lock = live.folder / "lock.json"
    lock.write_text(lock.read_text(encoding="utf-8").replace(first.lock["qrels"], "other"), encoding="utf-8")
    third = live.run()
    assert [change.partition(":")[0] for change in third.changes] == ["qrels"]
    assert third.numbers["systems"] != first.numbers["systems"]
