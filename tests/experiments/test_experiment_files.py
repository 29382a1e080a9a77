"""YAML files of cascades and experiments: every problem has a line, and nothing is executed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from toys.experiments import YAML, write_experiment

import pt_cascade as ptc
from pt_cascade.collections.collection import make_collection
from pt_cascade.errors import ExperimentError, MissingError
from pt_cascade.experiments.cascade_file import CascadeFile, find_collection, read_cascade
from pt_cascade.experiments.documents import Document
from pt_cascade.experiments.schema import ExperimentFile

CASCADE = """\
collection: pydocs
stages:
  - {stage: bm25, cutoff: 1000}
  - stage: bi_encoder
    cutoff: 100
fusion: {bm25: 0.4, bi_encoder: 1e-1}
options: {tail: keep}
"""


def write(folder: Path, text: str) -> Path:
    """Write a cascade's file."""
    path = folder / "cascade.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    """Read a file that is not valid; return its problems."""
    with pytest.raises(ExperimentError) as caught:
        read_cascade(write(folder, text))
    return [*caught.value.problems]


def test_a_cascade_is_read_by_the_rules_of_yaml_1_2(tmp_path: Path) -> None:
    """PyYAML, which reads YAML 1.1, has 1e-1 as text and keep as it is, but no as false."""
    read = read_cascade(write(tmp_path, CASCADE))
    assert read.line() == "bm25 % 1000 >> bi_encoder % 100"
    assert (read.fusion, read.options.tail) == ({"bm25": 0.4, "bi_encoder": 0.1}, "keep")
    assert CascadeFile.model_validate(read.model_dump()) == read


def test_a_cascade_is_built_over_its_collection(tmp_path: Path) -> None:
    """Cut-offs, fusion and options are those of the file."""
    topics, qrels = pd.DataFrame({"qid": ["1"], "query": ["sum"]}), pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": [1]})
    collection = make_collection("toy", topics, qrels, [{"docno": "a", "text": "a sum"}, {"docno": "b", "text": "a mean"}])
    cascade = read_cascade(write(tmp_path, CASCADE)).build(collection)
    assert repr(cascade) == "bm25 → 1000 · bi_encoder · fused(bm25=0.8, bi_encoder=0.2) → 100"
    assert cascade.tail == "keep"


def test_all_problems_are_listed_each_with_its_line(tmp_path: Path) -> None:
    """Unknown keys, wrong values and wrong stages together."""
    text = """\
collection: pydocs
stagess: 3
stages:
  - {stage: bm25, cutof: 10, cutoff: 0}
  - stage: bi_encodr
  - stage: cross_encoder('m', batch_tokenss=3)
  - stage: bm25 % 3 >> dense
options: {tail: kep}
fusion: {bm25: no}
"""
    found = problems(tmp_path, text)
    expected = [
        (2, "unknown key 'stagess'; did you mean 'stages'?"),
        (4, "stages[0].cutoff is 0"),
        (4, "unknown key 'stages[0].cutof'; did you mean 'cutoff'?"),
        (5, "there is no stage 'bi_encodr'"),
        (6, "unexpected keyword argument 'batch_tokenss'"),
        (7, "more than one stage"),
        (8, "options.tail is 'kep'"),
        (9, "fusion.bm25 is 'no'"),
    ]
    assert len(found) == len(expected)
    for problem, (line, words) in zip(found, expected, strict=True):
        assert problem.startswith(f"cascade.yaml:{line}: ")
        assert words in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: [", ":1: "),
        ("a: 1\na: 2", ':2: found duplicate key "a"'),
        ("a: !!python/object/apply:os.system [exit 3]", "it has the tag"),
        ("a: " + "[" * 40 + "]" * 40, "nested"),
        ("a: 1\n---\nb: 1", ":2: expected a single document in the stream but found another document"),
        (
            "a: &a [1, 2]\n" + "".join(f"{n}: &{n} [{', '.join([f'*{m}'] * 9)}]\n" for m, n in pairwise("abcdefgh")),
            "100,000 values",
        ),
        ("[1, 2]", "it holds no keys with values"),
        ("", "it holds no keys with values"),
        ("collection: 2026-01-01\nstages: [{stage: bm25}]", "is a date"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """Broken YAML, repeated keys, tags, deep nesting, lists and dates."""
    assert words in "\n".join(problems(tmp_path, text))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """A file of Windows' Notepad in UTF-16."""
    (path := tmp_path / "cascade.yaml").write_bytes(CASCADE.encode("utf-16"))
    with pytest.raises(ExperimentError, match=r"cascade\.yaml:1: it is not UTF-8"):
        read_cascade(path)


def test_a_weight_of_no_stage_has_its_line(tmp_path: Path) -> None:
    """Weights are of stages that there are."""
    (problem,) = problems(tmp_path, CASCADE.replace("bi_encoder: 1e-1", "bi_encodr: 1e-1"))
    assert problem.startswith("cascade.yaml:6: fusion.bi_encodr is no stage; did you mean 'bi_encoder'?")


def test_a_folder_is_relative_to_the_file_and_a_name_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables are replaced; one that is not set is an error."""
    monkeypatch.setenv("TOY_DATA", "/data")
    monkeypatch.delenv("NO_DATA", raising=False)
    file = tmp_path / "cascade.yaml"
    assert find_collection("./scifact", file) == str(tmp_path / "scifact")
    assert find_collection("$TOY_DATA/scifact", file) == "/data/scifact"
    assert find_collection("irds:vaswani", file) == "irds:vaswani"
    with pytest.raises(MissingError, match=r"no variable NO_DATA.*export NO_DATA=/a/folder"):
        find_collection("$NO_DATA/scifact", file)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("qrels: qrels.txt\n", "", 1, "expected qrels with runs"),
        ("measures: RR", "measures: [RR, nDCGG@10]", 7, "'nDCGG@10' is unknown to ir_measures"),
        ("measures: RR", "measures: [nDGC@10]", 7, "did you mean 'nDCG@10'?"),
        ("measures: RR", "measures: [RR, nDCG@0]", 7, "'nDCG@0' has a cutoff out of range"),
        ("  - {stage: first, cutoff: [1, 2]}\n  - {stage: [~, second]}\n", "  5\n", 4, "stages is 5, expected a list"),
        ("cost: {second", "cost: {secnd", 9, "cost.secnd is no stage; did you mean 'second'?"),
        ("second: second.res", "third: second.res", 2, "stage 'second' has no run"),
        ("  differences:", "  diferences:", 17, "expected.diferences is no part; did you mean 'differences'?"),
        ("recall: 0, ", "", 15, "recall has no tolerance"),
        ("measures: RR\n", "", 1, "measures is missing"),
        ("baseline:", "grid: lsted\nbaseline:", 8, "grid is 'lsted', expected 'listed', 'log' or 'full'; did you mean 'listed'?"),
        ("title:", "script: x.py\ntitle:", 4, "qrels has no effect on a script"),
        ("{stage: first, ", "{stage: [~, first], ", 5, "the first stage cannot be left out"),
        ("cost: ", "profile: {}\ncost: ", 9, "runs cannot be timed"),
    ],
)
def test_parts_of_an_experiment_fit_together(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    """What is valid alone, and not beside the rest."""
    assert old in YAML
    with pytest.raises(ExperimentError) as caught:
        Document(write_experiment(tmp_path, YAML.replace(old, new))).read(ExperimentFile)
    assert any(one.startswith(f"two-queries.yaml:{line}: ") and words in one for one in caught.value.problems)


def test_a_baseline_that_is_no_system_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """The closest system is named."""
    file = write_experiment(tmp_path, YAML.replace("baseline: first % 2", "baseline: frst % 2"))
    with pytest.raises(ExperimentError, match=r"yaml:8: there is no system 'frst → 2' to compare with; did you mean 'first → 2'"):
        ptc.open_experiment(file)


def test_a_list_of_stages_and_of_cutoffs_is_an_axis(tmp_path: Path) -> None:
    """Each combination is a system; ~ leaves a stage out."""
    text = YAML.replace("{stage: [~, second]}", "{stage: [~, second], cutoff: [~, 5]}")
    names = [*ptc.open_experiment(write_experiment(tmp_path, text)).systems()]
    rows = [
        "first → 1",
        "first → 2",
        "first → 1 · second → 5",
        "first → 1 · second",
        "first → 2 · second → 5",
        "first → 2 · second",
    ]
    assert sorted(names) == sorted(rows)


def test_prefixes_are_systems_once(tmp_path: Path) -> None:
    """The first stage alone comes from both alternatives of the second."""
    text = YAML.replace("{stage: [~, second]}", "{stage: [~, second]}\nprefixes: true")
    assert [one.name for one in ptc.open_experiment(write_experiment(tmp_path, text)).combinations] == ["first", "first >> second"]


def test_stages_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """By what each is made with, as two models of one kind of stage."""
    text = "title: k1\ncollection: pydocs\nstages: [{stage: [bm25, 'bm25(k1=2.0)', dense], cutoff: 10}]\nmeasures: RR\n"
    systems = ptc.open_experiment(write(tmp_path, text)).combinations
    assert [one.row(one.deepest) for one in systems] == ["bm25 → 10", "bm25(k1=2.0) → 10", "dense → 10"]
