"""A pairwise last stage scored once: which documents it compares, how often, and what becomes of one that cannot be replayed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from duellists import Asked, Duellist
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import Judge, simulate
from tabling import chain
from test_replay import assert_same
from test_scoring import FIRST, JUDGES
from toys import ToyRetriever, topics

from pt_cascade import Cascade, Stage
from pt_cascade.analysis.tables import ScoreTable
from pt_cascade.errors import PipelineError, StageError, TableError
from pt_cascade.execution import scoring, sheets
from pt_cascade.execution.answers import finish
from pt_cascade.execution.scoring import score

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pt_cascade.ranking import Floats, Ints

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's chunks to itself."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def _no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the few calls that only look after the truth."""
    for name in ("check_company", "check_comparison"):
        monkeypatch.setattr(scoring, name, lambda *_: True)
    monkeypatch.setattr(scoring, "retrace", lambda *_: None)
    monkeypatch.setattr(sheets, "settle", lambda _, possible, __: possible)
    monkeypatch.setattr(sheets, "probe_copies", lambda _, __, possible: possible)


def kept(table: ScoreTable, stage: str) -> Counter[tuple[str, str, str]]:
    """The (qid, first docno, second docno) of a table's duels."""
    duels, qid, docno = table.duels[stage], table.frame["qid"].tolist(), table.frame["docno"].tolist()
    return Counter((qid[i], docno[i], docno[j]) for i, j in zip(duels.first, duels.second, strict=True))


def by_hand(judges: list[Judge], depths: list[int], asked: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Cut by every vector within the depths, and write down all that are handed to the last stage together."""
    wanted = set()
    for cutoffs in product(*(range(1, k + 1) for k in depths)):
        for qid, query in asked.itertuples(index=False):
            rows, _ = simulate(FIRST, judges, query, cutoffs)[-1]
            wanted |= {(qid, one, other) for one in rows for other in rows if one != other}
    return wanted


@pytest.mark.usefixtures("_no_probes")
@settings(max_examples=10)
@given(st.lists(JUDGES, max_size=2, unique=True), st.lists(st.integers(1, 6), min_size=3, max_size=3), st.integers(1, 3))
def test_exactly_the_duels_that_some_cutoffs_need_are_fought_once(judges: list[Judge], depths: list[int], batch_size: int) -> None:
    """Oracle: the cascade worked out by hand at every cut-off vector; a counting comparer is asked about each two once an order."""
    last, depths = Duellist(log=Asked()), depths[: len(judges) + 1]
    table = score(chain(FIRST, [*judges, last], (*depths, None)), topics(3), batch_size=batch_size)
    wanted = Counter(by_hand(judges, depths, topics(3)))
    assert kept(table, "duellist") == wanted
    assert Counter(last.log.duels) == wanted
    assert last.log.live <= 12
    p = table.duels["duellist"].p.tolist()
    assert p == [last.judge(f"query {qid[1:]}", one, other) for qid, one, other in kept(table, "duellist")]


@settings(max_examples=10)
@given(
    st.lists(JUDGES, max_size=2, unique=True),
    st.sampled_from(["sum", "binary", "min"]),
    st.sampled_from(["given", "rank"]),
    st.sampled_from(["given", "rank"]),
    st.data(),
)
def test_what_score_made_replays(judges: list[Judge], how: str, rows: str, ties: str, data: st.DataObject) -> None:
    """Golden: the live pipeline at any cut-offs within the depths; how the stage orders rows and ties is found out."""
    last = Duellist(how, 5, 2, rows, ties)
    depths = (9, 6, 4)[: len(judges) + 1]
    table = score(chain(FIRST, [*judges, last], (*depths, None)), topics(4), batch_size=2)
    cutoffs = data.draw(st.tuples(*(st.integers(1, k) for k in depths), st.one_of(st.none(), st.integers(1, 5))))
    assert_same(table.replay(cutoffs), chain(FIRST, [*judges, last], cutoffs).transform(topics(4)))


@pytest.mark.usefixtures("_no_probes")
def test_cascades_that_share_a_pairwise_stage_ask_about_each_two_documents_once() -> None:
    """After two stages or three, at several depths, under another instance that is equal: one set of duels, each fought once."""
    cheap, dear, last = Judge(1), Judge(2), Duellist(log=Asked())
    copy = Duellist(log=last.log)
    cascades = [
        FIRST % 6 >> cheap % 4 >> dear % 3 >> last % 2,
        FIRST % 5 >> last,
        FIRST % 4 >> copy % 1,
        FIRST % 6 >> cheap % 4 >> copy,
    ]
    table = score(cascades, topics(5), batch_size=2)
    assert table.stages == ("toy", "judge", "judge_2", "duellist")
    assert list(table.duels) == ["duellist"]
    wanted: set[tuple[str, str, str]] = set()
    for judges, depths in (([cheap, dear], [6, 4, 3]), ([], [5]), ([cheap], [6, 4])):
        wanted |= by_hand(judges, depths, topics(5))
    assert Counter(last.log.duels) == Counter(wanted) == kept(table, "duellist")
    for cascade in cascades:
        assert_same(finish(table, cascade), cascade.transform(topics(5)))


def test_what_looks_after_the_truth_costs_little() -> None:
    """Once a stage: up to 96 comparisons in other company, up to 12 of the stage itself, and 4 about its ties."""
    last = Duellist(levels=9, log=Asked())
    table = score(ToyRetriever(docs=40) % 25 >> last, topics(6), batch_size=2)
    once = sum(kept(table, "duellist").values())
    assert once <= len(last.log.duels) <= once + 96
    assert last.log.live <= 12 + 4


def test_cascades_that_share_a_pairwise_stage_are_looked_after() -> None:
    """Documents that only one of the paths hands to it, and that the stages of the other never scored, are no trouble."""
    cheap, last = Judge(2, 9), Duellist(levels=9)
    cascades = [ToyRetriever(docs=20) % 12 >> last % 3, ToyRetriever(docs=20) % 5 >> cheap % 3 >> last]
    table = score(cascades, topics(4), batch_size=2)
    assert table.frame["judge"].isna().any()
    for cascade in cascades:
        assert_same(finish(table, cascade), cascade.transform(topics(4)))


def test_finish_replays_duels_without_asking() -> None:
    """Golden: the live cascade, at other cut-offs, with its ending; the stage is not asked again."""
    judge, last = Judge(2), Duellist(log=Asked())
    shout = pt.apply.generic(lambda results: results.assign(said=results["docno"].str.upper()))
    cascade = Cascade.of(FIRST % 7 >> judge % 5 >> last % 2 >> shout)
    table = score(cascade.prefix(3), topics(3))
    before = len(last.log.duels) + last.log.live
    for cutoffs in ((7, 5, 2), (6, 3, None)):
        live = cascade.with_cutoffs(*cutoffs).transform(topics(3))
        counted = len(last.log.duels) + last.log.live
        done = finish(table, cascade, cutoffs)
        assert len(last.log.duels) + last.log.live == counted > before
        assert_same(done, live)
        assert done["said"].tolist() == done["docno"].str.upper().tolist()


def test_beyond_the_depths_is_refused() -> None:
    """The message says what is lacking, how the table was made, and the call that would cover it."""
    table = score(FIRST % 6 >> Judge(2) % 3 >> Duellist(), topics(3))
    assert table.covers((6, 3, 1))
    assert not table.covers((6, 4, 1))
    with pytest.raises(TableError) as caught:
        table.replay((6, 4, None))
    told = str(caught.value)
    assert "toy → judge → duellist at (6, 4, None) needs " in told
    assert told.endswith("it was made with depths=(6, 3). Fix: score(cascade, topics, depths=(6, 4))")


def test_a_pairwise_stage_before_others_is_refused() -> None:
    """It is named, with what can be done."""
    with pytest.raises(PipelineError) as caught:
        score(FIRST % 6 >> Duellist() % 3 >> Judge(2), topics(2))
    assert str(caught.value) == (
        "these cascades cannot be scored: stage 'duellist' compares documents, so its scores depend on which reach it: it may only "
        "stand last, in toy → 6 · duellist → 3 · judge. Fix: score the stages before it, e.g. score(cascade.prefix(1), topics)"
    )


def test_one_that_is_said_to_depend_on_the_list_is_run_live() -> None:
    """As a stock DuoT5 is: the table leaves it out, and finish runs it."""
    last = Duellist(log=Asked())
    cascade = Cascade.of(FIRST % 6 >> last % 2).with_stage(1, depends="list")
    table = score(cascade, topics(3))
    assert (table.stages, table.duels, last.log.duels, last.log.live) == (("toy",), {}, [], 0)
    assert table.paths[0].live == "duellist"
    assert_same(finish(table, cascade, (5, 3)), cascade.with_cutoffs(5, 3).transform(topics(3)))
    known = score(FIRST % 6 >> last % 2, topics(3))
    before = last.log.live
    assert_same(finish(known, cascade, (5, 3)), cascade.with_cutoffs(5, 3).transform(topics(3)))
    assert last.log.live > before


@dataclass(frozen=True)
class Spoilt(Duellist):
    """A comparer whose answers, or whose ranking, a function spoils."""

    answers: Callable[[pd.DataFrame, Ints, Ints, Floats], object] = field(default=lambda *given: given[-1], compare=False)
    ranking: Callable[[pd.DataFrame], pd.DataFrame] = field(default=lambda ranked: ranked, compare=False)

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Compare, then spoil."""
        return self.answers(results, first, second, super().compare(results, first, second))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank, then spoil."""
        return self.ranking(super().transform(inp))


COMPANY = {
    "of a call": lambda *given: np.clip(given[-1] + len(given[1]) / 1e3, 0, 1),
    "of documents": lambda *given: np.clip(given[-1] + len(given[0]) / 1e3, 0, 1),
    "of order": lambda *given: np.clip(given[-1] + (given[1] < given[2]) / 1e3, 0, 1),
}


@pytest.mark.parametrize("company", COMPANY)
def test_answers_that_depend_on_company_are_found_out(company: str) -> None:
    """The documents, both answers and what to do are told."""
    with pytest.raises(StageError) as caught:
        score(ToyRetriever(docs=14) % 9 >> Spoilt("sum", 3, 2, answers=COMPANY[company]), topics(3))
    told = str(caught.value)
    assert told.startswith("stage 'duellist' compares the same documents differently in other company: qid 'q")
    assert "compared again moved; the tolerance is 0.0001. Fix: let it be run, not replayed: cascade.with_stage(" in told


def test_a_little_company_is_tolerated() -> None:
    """Answers that move by less than the tolerance pass, whatever they are added up to."""
    for how in ("sym-sum-log", "binary", "max"):
        near = Spoilt(how, 3, 3, answers=lambda *given: np.clip(given[-1] + 1e-5 * (len(given[0]) % 5), 0, 1))
        assert len(score(ToyRetriever(docs=14) % 5 >> near, topics(3)).duels["duellist"])


def test_a_ranking_that_does_not_follow_from_the_answers_is_found_out() -> None:
    """A stage that scores otherwise than by adding up its answers is named, with a document, its score and what was expected."""
    doubled = Spoilt("sum", 3, 2, ranking=lambda ranked: pt.model.add_ranks(ranked.assign(score=2 * ranked["score"])))
    with pytest.raises(
        StageError, match=r"'duellist' does not score as its comparisons add up: qid 'q0', docno 'd\d+' scored \d.\d among"
    ):
        score(ToyRetriever(docs=14) % 9 >> doubled, topics(3))


ANSWERS = {
    "above 1": (
        lambda *given: given[-1] + 2,
        r"'duellist' gave .*: \d+ of \d+ are not between 0 and 1, e.g. qid 'q0': p\('d\d+' beats 'd\d+'\) is [23]",
    ),
    "no number": (lambda *given: given[-1] * np.nan, r"are not between 0 and 1, e.g. .* is nan"),
    "too few": (lambda *given: given[-1][1:], r"their shape is \(\d+,\), expected \(\d+,\)"),
    "failing": (lambda *_: 1 / 0, r"failed on \d+ comparison\(s\): .* raised ZeroDivisionError"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_that_are_none_are_refused(kind: str) -> None:
    """Nothing is repaired: the first documents that went wrong are named."""
    answers, problem = ANSWERS[kind]
    with pytest.raises(StageError, match=problem):
        score(FIRST % 6 >> Spoilt(answers=answers), topics(2))


@dataclass(frozen=True)
class Reader(Duellist):
    """Compares by texts."""

    def needs(self) -> list[str]:
        """It reads texts."""
        return ["query", "text"]

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Compare by the length of texts."""
        length = results["text"].str.len().to_numpy(float)
        return np.where(length[first] > length[second], 0.9, 0.2)


def test_what_stands_before_the_comparer_runs_first() -> None:
    """A text loader that turns the rows round is followed; without one, the message says what is lacking."""
    load = pt.apply.generic(lambda results: results.assign(text=results["docno"] * 2).iloc[::-1])
    pipeline = ToyRetriever(docs=14) % 12 >> load >> Reader("sum", rows="rank", ties="rank")
    table = score(pipeline, topics(3))
    assert set(table.duels["duellist"].p) == {0.9, 0.2}
    assert_same(table.replay((12, None)), pipeline.transform(topics(3)))
    blind = Cascade((Stage("toy", (FIRST,), 6, "point", "any"), Stage("duellist", (Reader(),), None, "pair", "same")))
    with pytest.raises(StageError, match=r"stage 'duellist' cannot run: .* misses column\(s\) text"):
        score(blind, topics(2))
    lose = pt.apply.generic(lambda results: results.assign(text="x").iloc[1:])
    with pytest.raises(PipelineError, match="what stands before its comparer changes the documents"):
        score(Cascade.of(FIRST % 6 >> lose >> Reader()).with_stage(1, documents="any"), topics(2))


def test_queries_that_find_little_or_nothing() -> None:
    """No documents, one, or none for any query: no duel, and the replay is that of the live pipeline."""
    asked = pd.DataFrame({"qid": ["q0", "q1"], "query": ["nothing", "query 1"]})
    for docs in (1, 2, 5):
        pipeline = ToyRetriever(docs=docs) % 4 >> Duellist()
        assert_same(score(pipeline, asked, batch_size=1).replay((4, None)), pipeline.transform(asked))
    assert not len(score(FIRST % 1 >> Duellist(), asked).duels["duellist"])


def test_a_call_after_a_crash_asks_about_no_finished_chunk_again(tmp_path: Path) -> None:
    """But for the few that are looked at once more; the table is the one that an undisturbed call makes."""
    quiet, last = Duellist(levels=9), Duellist(levels=9, log=Asked())
    wanted = score(FIRST % 6 >> Judge(1) % 4 >> quiet, topics(6), batch_size=2)
    folder = tmp_path / "chunks"
    last.log.fail_on("q2")
    with pytest.raises(StageError, match="out of memory"):
        score(FIRST % 6 >> Judge(1) % 4 >> last, topics(6), batch_size=2, folder=folder)
    before = Counter(last.log.duels)
    assert {qid for qid, _, _ in before} >= {"q0", "q1"}
    assert sorted(file.stem.rpartition("-")[0] for file in folder.glob("*0-*.parquet")) == ["000000", "duels-000000"]
    last.log.calls.clear()
    again = score(FIRST % 6 >> Judge(1) % 4 >> last, topics(6), batch_size=2, folder=folder)
    assert sum(count for (qid, _, _), count in Counter(last.log.duels).items() if qid in ("q0", "q1")) <= 2 * 12
    assert {qid for qid, _, _ in last.log.duels} == {f"q{n}" for n in range(6)}
    for name in ("first", "second", "p"):
        assert np.array_equal(getattr(again.duels["duellist"], name), getattr(wanted.duels["duellist"], name))
    assert not folder.exists()


@dataclass(frozen=True)
class Drifting(Duellist):
    """A model whose weights change under their old name."""

    state: list[object] = field(default_factory=lambda: [object(), 0.0], compare=False)  # an object: taken for a log, not hashed

    def judge(self, query: str, one: str, other: str) -> float:
        """Compare, with the weights of today."""
        return min(super().judge(query, one, other) + self.state[1], 1.0)


def test_a_model_that_changed_since_the_crash_is_found_out(tmp_path: Path) -> None:
    """A few finished duels are fought again, and the stage is refused when they end otherwise."""
    last = Drifting(log=Asked())
    last.log.fail_on("q2")
    found = ToyRetriever(docs=120, levels=999).transform(topics(6)).sort_values(["qid", "rank"], ascending=[True, False])
    pipeline = pt.Transformer.from_df(found) % 80 >> Judge(1, 99) % 2 >> last  # whose first rows are not compared
    with pytest.raises(StageError, match="out of memory"):
        score(pipeline, topics(6), batch_size=2, folder=tmp_path / "chunks")
    last.state[1] = 0.25
    with pytest.raises(TableError, match=r"stage 'duellist' is not what it was when the finished chunks .* against d\d+' scored"):
        score(pipeline, topics(6), batch_size=2, folder=tmp_path / "chunks")


def test_damaged_duels_of_a_finished_chunk_are_refused(tmp_path: Path) -> None:
    """Missing, cut short, or of other rows: the file to remove is named."""
    last, folder = Duellist(log=Asked()), tmp_path / "chunks"
    last.log.fail_on("q2")
    with pytest.raises(StageError, match="out of memory"):
        score(FIRST % 6 >> last, topics(6), batch_size=2, folder=folder)
    (file,) = folder.glob("duels-000000-*.parquet")
    data = file.read_bytes()
    frame = pd.read_parquet(file)
    for spoil in (
        file.unlink,
        lambda: file.write_bytes(data[:-9]),
        lambda: frame.head(3).to_parquet(file),
        lambda: frame.assign(stage="x").to_parquet(file),
    ):
        spoil()
        with pytest.raises(TableError, match=r"a finished chunk is damaged: .*/000000-.*.parquet"):
            score(FIRST % 6 >> last, topics(6), batch_size=2, folder=folder)


def test_a_stage_that_changes_with_what_stands_before_it_is_not_shared() -> None:
    """Two cascades share a comparer that reads what a stage before it added: refused, and named."""

    @dataclass(frozen=True)
    class Copies(Duellist):
        def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
            if "mark" not in results:
                return super().compare(results, first, second)
            return np.full(len(first), 0.125)

    mark = pt.apply.generic(lambda results: results.assign(mark=1))
    last = Copies("sum", 3, 2)
    with pytest.raises(PipelineError, match="stage 'duellist' scores the same pair differently after other stages"):
        score([FIRST % 6 >> last, FIRST % 6 >> mark >> Judge(1) % 4 >> last], topics(3))
