"""The cures that cascades, runs and scoring print: each is provoked, taken from the error and executed; then the call works."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt
import pytest
from pyterrier_caching import ScorerCache
from toys.folders import write_folder
from toys.judges import Judge
from toys.rankers import Broken, Counting, ToyReranker, ToyRetriever, topics

import pt_cascade as ptc
from pt_cascade import Cascade
from pt_cascade.cascade import Stage
from pt_cascade.collections import make_collection, open_collection
from pt_cascade.errors import CascadeError
from pt_cascade.execution.profiling import profile
from pt_cascade.execution.runner import run
from pt_cascade.execution.scoring.score import score

FIRST, SECOND = ToyRetriever(docs=9), ToyReranker()
RESULTS = FIRST.transform(topics(2))
PIPELINE = FIRST % 5 >> SECOND % 3
CASCADE = Cascade.of(PIPELINE)
DROPS = Cascade.of(FIRST % 6 >> Broken(lambda frame: pt.model.add_ranks(frame[frame["rank"] > 0].copy())) % 3)
DOCIDS = pt.apply.docid(lambda row: len(row["docno"]))
NAMES = {
    "pt": pt,
    "ptc": ptc,
    "pd": pd,
    "Cascade": Cascade,
    "run": run,
    "score": score,
    "profile": profile,
    "cascade": CASCADE,
    "cascades": [CASCADE, CASCADE.prefix(1)],
    "pipeline": PIPELINE,
    "topics": topics(2),
    "retriever": FIRST,
    "reranker": SECOND,
    "stage": SECOND,
    "parse_cascade": ptc.parse_cascade,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache of its own."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


def provoke(call: Callable[[], object]) -> str:
    """Return the cure of the error that a call raises."""
    with pytest.raises(CascadeError) as error:
        call()
    return error.value.fix


LINES: dict[str, tuple[Callable[[], object], str]] = {  # the call that fails, and what is said before the line
    "options of run": (lambda: run(CASCADE, topics(2), tail="x"), ""),  # type: ignore[arg-type]
    "options of profile": (lambda: profile(CASCADE, topics(2), repeats=0), ""),
    "options of score": (lambda: score(CASCADE, topics(2), query_batch_size=0), ""),
    "no cascade to score": (lambda: score([], topics(2)), ""),
    "other first stages": (
        lambda: score([PIPELINE, ToyRetriever(docs=3) >> SECOND], topics(2)),
        "make one table for each: ",
    ),
    "a list in the middle": (
        lambda: score(Cascade.of(PIPELINE >> ToyReranker(seed=2)).with_stage(1, depends="listwise"), topics(2)),
        "score the stages before it, e.g. ",
    ),
    "no stage": (lambda: Cascade(()), ""),
    "no pipeline": (lambda: Cascade.of("bm25"), ""),
    "no score": (lambda: Cascade.of(pt.apply.query(lambda row: row["query"])), ""),
}


@pytest.mark.parametrize("case", LINES)
def test_a_line_of_code_that_is_printed_runs(case: str) -> None:
    """Its names are those of any notebook; it gives the result of a call that works."""
    call, before = LINES[case]
    fix = provoke(call)
    assert fix.startswith(before)
    assert eval(fix.removeprefix(before), NAMES) is not None  # noqa: S307


def test_the_printed_depths_are_depths() -> None:
    """For a cascade of three stages, two."""
    cascade = Cascade.of(PIPELINE >> ToyReranker(seed=2))
    fix = provoke(lambda: score(cascade, topics(2), 5))  # type: ignore[arg-type]
    assert score(cascade, topics(2), **eval(f"dict({fix})")).paths[0].depths == (1000, 100)  # noqa: S307


def test_the_printed_topics_are_topics() -> None:
    """One query, which the retriever searches."""
    asked = eval(provoke(lambda: score(CASCADE, topics(0))), NAMES)  # noqa: S307
    assert len(score(CASCADE, asked).topics) == 1


def test_the_printed_cutoff_is_one() -> None:
    """Behind the stage that had a wrong one."""
    fix = provoke(lambda: Cascade.of(FIRST % 5 >> SECOND >> pt.RankCutoff(0)))
    assert Cascade.of(FIRST % 500 >> eval(fix, NAMES)).cutoffs == (500, 100)  # noqa: S307


def test_stages_get_the_names_that_are_asked_for() -> None:
    """Each its own."""
    stages = (Stage("s", (FIRST,)), Stage("s", (SECOND,)))
    assert provoke(lambda: Cascade(stages)) == "give each Stage its own name"
    assert len(Cascade((stages[0], Stage("t", (SECOND,))))) == 2


def test_a_stage_that_drops_documents_is_declared_as_printed() -> None:
    """``documents='any'`` to run it; ``listwise`` to finish it from a table."""
    fix = provoke(lambda: DROPS.transform(topics(2)))
    declared = eval(fix.removeprefix("if this is intended: "), {"Cascade": Cascade, "pipeline": DROPS})  # noqa: S307
    live = declared.transform(topics(2))
    fix = provoke(lambda: score(declared, topics(2))).removeprefix("run it as the last stage: ")
    first, second = fix.split(", then ")
    last = eval(first, {"cascade": declared})  # noqa: S307
    assert last is not None
    finished = eval(second, {"cascade": last, "table": score(last, topics(2))})  # noqa: S307
    assert finished[["qid", "docno"]].to_numpy().tolist() == live[["qid", "docno"]].to_numpy().tolist()


def test_a_table_of_another_cascade_is_made_again_as_printed() -> None:
    """Then the cascade is finished from it; golden: the live cascade."""
    other = score(FIRST % 5 >> ToyReranker(seed=5) % 3, topics(2))
    longer = Cascade.of(FIRST % 5 >> SECOND % 3 >> ToyReranker(seed=2))
    names: dict[str, Any] = {"score": score, "cascade": longer, "topics": topics(2)}
    exec(provoke(lambda: longer.finish(other)), names)  # noqa: S102
    assert longer.finish(names["table"])["docno"].tolist() == longer.transform(topics(2))["docno"].tolist()


def test_a_column_that_depends_on_scores_is_left_to_run() -> None:
    """The live cascade."""
    loads = pt.apply.generic(lambda frame: frame.assign(text=frame["score"].astype(str)))
    first = FIRST % 5 >> loads >> SECOND % 3
    cascade = Cascade.of(first >> ToyReranker(seed=2) % 2).with_stage(2, depends="listwise")
    table = score(first, topics(2))
    fix = provoke(lambda: cascade.finish(table))
    assert len(eval(fix, {**NAMES, "cascade": cascade}).results) == 4  # noqa: S307


def test_docids_that_contradict_are_dropped_as_printed() -> None:
    """A stage orders ties by docid, and another gives other docids."""
    ties = Judge(levels=1, ties="docid")
    pipeline = FIRST % 5 >> ties % 4
    fix = provoke(lambda: score(pipeline >> DOCIDS >> Judge(2) % 2, topics(2)))
    last = eval(fix, {"pt": pt, "stage": DOCIDS})  # noqa: S307
    assert len(score(pipeline >> last >> Judge(2) % 2, topics(2)).frame)


def test_a_cache_gets_the_scorer_that_it_lacks(tmp_path: Path) -> None:
    """Without one a profile would time look-ups."""
    fix = provoke(lambda: profile(FIRST % 5 >> ScorerCache(str(tmp_path / "s")), topics(2)))
    assert fix == "give the cache its scorer"
    assert profile(FIRST % 5 >> ScorerCache(str(tmp_path / "s"), Counting()), topics(2), repeats=1).queries == 2


def test_a_checkpoint_of_another_table_is_replaced_as_printed(tmp_path: Path) -> None:
    """Another folder, or the command in a shell."""
    folder = tmp_path / "my checkpoint"
    with pytest.raises(CascadeError):
        score(PIPELINE >> Broken(lambda _: 1 / 0), topics(2), checkpoint=folder)
    fix = provoke(lambda: score(PIPELINE, topics(2), checkpoint=folder))
    new, command = fix.split(", or ")
    assert new == "score(..., checkpoint='a/new/folder')"
    assert len(score(PIPELINE, topics(2), checkpoint=tmp_path / "a" / "new" / "folder").frame)
    subprocess.run(shlex.split(command.removesuffix(" if they are not needed")), check=True)
    assert len(score(PIPELINE, topics(2), checkpoint=folder).frame)


def test_a_retriever_retrieves_each_query_by_itself_as_printed() -> None:
    """Its scores depend on the number of queries that it is given."""
    together = pt.apply.generic(lambda asked: FIRST.transform(asked).assign(score=lambda found: found["score"] + len(asked)))
    together.documents = "retrieves"
    assert provoke(lambda: score(together % 5, topics(5))) == "retrieve each query by itself"
    alone = pt.apply.by_query(lambda asked: pt.model.add_ranks(FIRST.transform(asked)), add_ranks=False)
    alone.documents = "retrieves"
    assert len(score(alone % 5, topics(5)).frame)


@pytest.mark.usefixtures("minilm")
def test_the_printed_line_is_a_cascade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a collection of one's own in place of pydocs."""
    docs = [{"docno": f"d{n}", "text": f"a lion and {n} tigers"} for n in range(5)]
    qrels = pd.DataFrame({"qid": ["q0"], "docno": ["d0"], "label": [1]})
    write_folder(make_collection("animals", topics(1), qrels, docs), tmp_path / "animals")
    fix = provoke(lambda: ptc.parse_cascade("bm25 % 0", "pydocs"))
    assert "'pydocs'" in fix
    monkeypatch.chdir(tmp_path)
    cascade = eval(fix.replace("'pydocs'", "'./animals'"), NAMES)  # noqa: S307
    assert repr(cascade) == "bm25 → 1000 · bi_encoder → 100 · late_interaction → 20"
    assert len(open_collection("./animals")) == 5
