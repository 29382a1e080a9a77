"""Profiles by a clock that toys drive: what is in a stage's time, what is not, and that predictions hold where truth is known."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.fragile import Fragile
from toys.rankers import Broken, ToyReranker, ToyRetriever, topics, toss

from pt_cascade import Cascade
from pt_cascade.analysis.cost.latency import take_percentiles
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.errors import CascadeError, CascadeWarning, QueryError, StageError
from pt_cascade.execution.profiling import profile

if TYPE_CHECKING:
    from collections.abc import Callable

FEW = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
LONG = 1e6  # seconds: what must not be counted is seen at once where it is


@dataclass(eq=False)
class Stopwatch:
    """A clock that stands still unless a toy works; it remembers each query that a toy was asked for."""

    now: float = 0.0
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def __call__(self) -> float:
        """Read it."""
        return self.now

    def work(self, name: str, frame: pd.DataFrame, ms: float) -> None:
        """Spend the milliseconds; far more on a call without rows, or on the first one."""
        first = name not in {one for one, _, rows in self.asked if rows}
        self.now += ms / 1000 if len(frame) and not first else LONG
        self.asked.append((name, " ".join(frame["qid"].unique()), len(frame)))


@dataclass(frozen=True)
class Finder(pt.Transformer):
    """Retrieves 45 documents or so, none for the query "nothing", in 3 ms and what is particular to the query."""

    clock: Stopwatch = field(compare=False)
    docs: int = 60
    documents = "retrieves"
    stage_name = "finder"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank by a hash."""
        pt.validate.query_frame(inp, extra_columns=["query"], context=self)
        self.clock.work("finder", inp, sum(3 + extra(query) for query in inp["query"]))
        return ToyRetriever(docs=self.docs, levels=50).transform(inp)


@dataclass(frozen=True)
class Scorer(pt.Transformer):
    """Scores in a fixed time and a time a document, times what is particular to the query; knows its tokens."""

    clock: Stopwatch = field(compare=False)
    name: str = "scorer"
    fixed: float = 5.0
    slope: float = 2.0
    documents = "reranks"

    @property
    def stage_name(self) -> str:
        """As it was given."""
        return self.name

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank by a hash."""
        pt.validate.result_frame(inp, extra_columns=["query"], context=self)
        sizes = inp.groupby("query").size()
        self.clock.work(self.name, inp, sum((1 + extra(q)) * (self.fixed + self.slope * n) for q, n in sizes.items()))
        return ToyReranker(levels=9, seed=len(self.name)).transform(inp)

    def count_tokens(self, frame: pd.DataFrame) -> list[int]:
        """One token a character of docno; far too long to be timed."""
        self.clock.now += LONG
        return frame["docno"].str.len().tolist()


def extra(query: str) -> float:
    """What is particular to a query: 0 to 0.9."""
    return toss(query, sides=10) / 10


def three(clock: Stopwatch) -> pt.Transformer:
    """Finder → 40 · scorer of 5 + 2 n ms → 20 · scorer of 1 + 10 n ms → 5."""
    return Finder(clock) % 40 >> Scorer(clock, "cheap") % 20 >> Scorer(clock, "dear", 1.0, 10.0) % 5


def truth(frame: pd.DataFrame, stage: str) -> np.ndarray:
    """What the toys spent: by the query, and by how many documents they were given."""
    fixed, slope = {"finder": (3, 0), "cheap": (5, 2), "dear": (1, 10)}[stage]
    more = np.array([extra(f"query {qid[1:]}") for qid in frame["qid"]])
    given = frame["docs_in"].to_numpy()
    return fixed + more if stage == "finder" else (1 + more) * (fixed + slope * given) * (given > 0)


def test_every_stage_query_repeat_and_share_is_timed_exactly() -> None:
    """Each once, at the time the toys spent, though tokens, first calls and calls without rows take a million seconds."""
    clock = Stopwatch()
    timings = profile(three(clock), topics(4), repeats=2, warmup=1, clock=clock)
    frame = timings.frame
    assert len(frame) == 3 * 4 * 2 * 4
    assert timings.stages == ("finder", "cheap", "dear")
    for stage, rows in frame.groupby("stage"):
        assert rows["ms"].to_numpy() == pytest.approx(truth(rows, str(stage)), rel=1e-4, abs=1e-4)
    cuts = {1.0: (40, 20, 5), 0.3: (12, 6, 2), 0.1: (4, 2, 1), 0.03: (1, 1, 1)}
    for share, rows in frame.groupby("share"):
        first, second, third = (rows[rows["stage"] == stage] for stage in timings.stages)
        assert (first["docs_in"] == 0).all()
        assert (first["docs_out"] == np.minimum(first["docs_ranked"], cuts[share][0])).all()
        assert second["docs_in"].tolist() == first["docs_out"].tolist()
        assert third["docs_in"].tolist() == np.minimum(second["docs_in"], cuts[share][1]).tolist()
        assert third["docs_out"].tolist() == np.minimum(third["docs_in"], cuts[share][2]).tolist()


def test_runs_take_turns() -> None:
    """The same query never twice running, neighbours at different shares, and after a repeat each query has had each share once."""
    clock = Stopwatch()
    frame = profile(three(clock), topics(3), repeats=2, warmup=0, clock=clock).frame
    runs = frame[frame["stage"] == "finder"][["qid", "repeat", "share"]].itertuples(index=False)
    runs = [tuple(run) for run in runs]
    assert all(before[0] != after[0] for before, after in pairwise(runs))
    assert all(before[2] != after[2] for before, after in pairwise(runs) if after[0] != "q0")
    assert set(Counter(runs).values()) == {1}
    assert [run[1] for run in runs] == [0] * 12 + [1] * 12
    finder = [qid for name, qid, n in clock.asked if name == "finder" and n]
    assert finder == [run[0] for run in runs]


def test_the_warm_up_is_not_counted() -> None:
    """Its queries run first at every share, and again when it counts; first calls, which load, are slow and seen nowhere."""
    clock = Stopwatch()
    timings = profile(three(clock), topics(3), repeats=1, warmup=2, shares=(1.0, 0.5), clock=clock)
    assert timings.frame["ms"].max() < 1e6
    finder = Counter(qid for name, qid, n in clock.asked if name == "finder" and n)
    assert finder == {"q0": 4, "q1": 4, "q2": 2}
    cold = Stopwatch()
    assert profile(three(cold), topics(2), repeats=1, warmup=0, clock=cold).frame["ms"].max() >= 1e9


def test_a_time_limit_times_as_many_queries_as_fit() -> None:
    """By hand: the last warm-up query takes what the others do, so half of the time for six queries is enough for three."""
    clock = Stopwatch()
    asked = pd.DataFrame({"qid": [f"q{n}" for n in range(6)], "query": "query 1"})
    whole = profile(three(clock), asked, repeats=2, warmup=2, clock=clock)
    per_query = whole.frame["ms"].sum() / 1000 / 6
    with pytest.warns(CascadeWarning, match=r"^3 queries are timed: 6 would take about .* p95 takes 20, a budget at p95 59$"):
        some = profile(three(clock), asked, repeats=2, warmup=2, seconds=3.5 * per_query, clock=clock)
    assert some.queries == 3
    assert some.frame["qid"].unique().tolist() == ["q0", "q1", "q2"]
    with pytest.warns(CascadeWarning, match=r"^1 queries are timed"):
        assert profile(three(clock), asked, repeats=1, warmup=1, seconds=1e-9, clock=clock).queries == 1
    assert profile(three(clock), asked, repeats=1, warmup=1, seconds=1e9, clock=clock).queries == 6


def test_calls_without_rows_are_not_counted() -> None:
    """A query that finds nothing costs its later stages nothing, though PyTerrier's inspection calls them."""
    clock = Stopwatch()
    asked = pd.DataFrame({"qid": ["a", "b", "c"], "query": ["query 1", "nothing", "query 2"]})
    frame = profile(three(clock), asked, repeats=1, clock=clock).frame
    empty = frame[(frame["qid"] == "b") & (frame["stage"] != "finder")]
    assert empty[["docs_in", "docs_out", "tokens", "ms"]].to_numpy().tolist() == [[0, 0, 0, 0]] * 8
    assert ("cheap", "", 0) in clock.asked
    assert frame["ms"].max() < 1e6


def test_costs_of_a_profile_are_those_of_the_toys() -> None:
    """The toys' fixed times and times a document, times the queries' mean slowness, come out of the fit."""
    clock = Stopwatch()
    cost = profile(three(clock), topics(8), repeats=1, warmup=1, shares=(1.0, 0.2), clock=clock).cost()
    slow = 1 + np.mean([extra(f"query {n}") for n in range(8)])
    expected = {"finder": (2 + slow, 0), "cheap": (5 * slow, 2 * slow), "dear": (slow, 10 * slow)}
    for one in cost.stages:
        assert (one.fixed_ms, one.per_pair_ms) == (
            pytest.approx(expected[one.stage][0], rel=0.05),
            pytest.approx(expected[one.stage][1], rel=0.05),
        )


@FEW
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=8)
def test_predictions_are_what_a_real_run_takes(k1: int, k2: int, k3: int) -> None:
    """At any cut-offs, between the profiled ones and deeper: mean and percentiles of running the cascade there, query by query."""
    clock = Stopwatch()
    cascade = Cascade.of(three(clock))
    if not _COST:
        _COST.append(profile(cascade, topics(5), repeats=1, warmup=1, clock=clock).cost())
    clock.asked += [("finder", "", 1), ("cheap", "", 1), ("dear", "", 1)]  # warm
    real = profile(cascade.with_cutoffs(k1, k2, k3), topics(5), repeats=1, warmup=0, shares=(1.0,), clock=clock).frame
    sums = real.groupby("qid")["ms"].sum().to_numpy()
    late = _COST[0].latency((k1, k2, k3), (50, 100))
    assert late.ms == pytest.approx(sums.mean(), rel=1e-3)
    assert late.joint_ms == pytest.approx(tuple(take_percentiles(sums, (50, 100))), rel=1e-3)


_COST: list[Any] = []


def test_throughput_times_all_queries_together() -> None:
    """One call a stage for all of them; the time is shared out evenly, sums are whole, and the mean cost is the toys'."""
    clock = Stopwatch()
    timings = profile(three(clock), topics(8), "throughput", repeats=2, shares=(1.0, 0.2), clock=clock)
    assert {len(qids.split()) for name, qids, n in clock.asked if name == "finder" and n} == {8}
    for (stage, _, _), rows in timings.frame.groupby(["stage", "repeat", "share"]):
        assert len(set(rows["ms"])) == 1
        assert rows["ms"].sum() == pytest.approx(truth(rows, str(stage)).sum(), rel=1e-4, abs=1e-3)
    with pytest.raises(CascadeError, match="timed together"):
        timings.cost().latency((40, 20, 5), (95,))
    real = timings.frame[timings.frame["share"] == 1].groupby("stage")["ms"].mean().sum()
    assert timings.cost().latency((40, 20, 5), ()).ms == pytest.approx(real, rel=0.05)


def test_tokens_are_counted_after_the_loader() -> None:
    """What the scorer is given, not what the stage is given; NaN where nobody tells."""
    clock = Stopwatch()
    longer = pt.apply.generic(lambda rows: rows.assign(docno=rows["docno"] + "!"))

    class Reader(Scorer):
        def count_tokens(self, frame: pd.DataFrame) -> list[int]:
            return frame["text"].str.len().tolist()

    loader = pt.apply.text(lambda row: row["docno"] * 2)
    frame = profile(
        Finder(clock) % 10 >> loader >> Reader(clock) % 5 >> longer, topics(2), repeats=2, warmup=1, shares=(1.0, 0.3), clock=clock
    ).frame
    assert frame[frame["stage"] == "finder"]["tokens"].isna().all()
    scorer = frame[frame["stage"] == "scorer"]
    assert (scorer["tokens"] > 2 * 2 * scorer["docs_in"] - 1).all()
    assert scorer[scorer["repeat"] == 0]["tokens"].tolist() == scorer[scorer["repeat"] == 1]["tokens"].tolist()
    cost = Timings(frame).cost("token")
    assert cost.stages[1].tokens_per_pair == pytest.approx(scorer["tokens"].sum() / scorer["docs_in"].sum())


def test_shares_are_of_what_there_is() -> None:
    """Of 1000 documents asked for 15 or so are found: shares are of those, so that depths differ; likewise without a cut-off."""
    for cutoff in (1000, None):
        clock = Stopwatch()
        cascade = Cascade.of(Finder(clock, docs=20) % 7 >> Scorer(clock) % 5).with_cutoffs(finder=cutoff)
        frame = profile(cascade, topics(4), repeats=1, warmup=4, shares=(1.0, 0.5), clock=clock).frame
        given = frame[frame["stage"] == "scorer"].groupby("share")["docs_in"].max()
        assert 10 < given[1.0] <= 20
        assert given[0.5] == round(given[1.0] / 2)


def test_shares_may_be_deeper_than_the_cascade() -> None:
    """Above 1: the cut-offs are multiplied up."""
    clock = Stopwatch()
    frame = profile(Finder(clock) % 10 >> Scorer(clock) % 5, topics(3), repeats=1, shares=(2.0, 1.0), clock=clock).frame
    assert frame[frame["stage"] == "scorer"].groupby("share")["docs_in"].unique().map(list).to_dict() == {1.0: [10], 2.0: [20]}


@dataclass
class Gpu:
    """A torch that only queues work: the clock goes on when it is waited for."""

    clock: Stopwatch
    pending: float = 0.0
    waited: Counter[int] = field(default_factory=Counter)

    def module(self) -> SimpleNamespace:
        """Stand in for torch, with three GPUs of which the second is used."""
        cuda = SimpleNamespace(
            is_initialized=lambda: True,
            device_count=lambda: 3,
            memory_reserved=lambda device: device == 1,
            synchronize=self.wait,
            get_device_name=lambda: "toy",
        )
        return SimpleNamespace(cuda=cuda, __version__="0", get_num_threads=lambda: 1)

    def wait(self, device: int) -> None:
        """Do what is queued."""
        self.waited[device] += 1
        self.clock.now += self.pending
        self.pending = 0.0


def test_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that is queued is in the time of the stage that queued it; only GPUs in use are waited for."""
    clock = Stopwatch()
    gpu = Gpu(clock)
    monkeypatch.setitem(sys.modules, "torch", gpu.module())

    def queue(rows: pd.DataFrame) -> pd.DataFrame:
        gpu.pending += 0.007 * len(rows)
        return pt.model.add_ranks(rows.assign(score=1.0), single_query=False)

    found = ToyRetriever(docs=20)
    timings = profile(found % 8 >> pt.apply.generic(queue) % 3, topics(3), repeats=1, shares=(1.0, 0.5), clock=clock)
    rows = timings.frame[timings.frame["stage"] != "toy"]
    assert rows["ms"].to_numpy() == pytest.approx(7.0 * rows["docs_in"].to_numpy())
    assert timings.frame[timings.frame["stage"] == "toy"]["ms"].tolist() == pytest.approx([0.0] * 6)
    assert set(gpu.waited) == {1}
    assert (timings.machine["device"], timings.machine["torch"]) == ("toy", "0")


def test_torch_is_inspected_and_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no stage uses torch a profile does not load it either, and says nothing of it."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    clock = Stopwatch()
    timings = profile(three(clock), topics(2), repeats=1, clock=clock)
    assert "torch" not in sys.modules
    assert {"cores", "load", "python", "pyterrier"} < set(timings.machine)
    assert "device" not in timings.machine


def test_nothing_given_is_changed() -> None:
    """Topics with whole numbers as qids do, and stay as they were; so does the cascade."""
    clock = Stopwatch()
    asked = topics(3).assign(qid=[1, 2, 3])
    kept, cascade = asked.copy(deep=True), Cascade.of(three(clock))
    before = repr(cascade)
    frame = profile(cascade, asked, repeats=1, warmup=0, shares=(1.0, 0.5), clock=clock).frame
    pd.testing.assert_frame_equal(asked, kept)
    assert set(frame["qid"]) == {"1", "2", "3"}
    assert repr(cascade) == before


def test_a_progress_bar_counts_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """With verbose a tick a run; without it nothing is printed."""
    clock = Stopwatch()
    profile(three(clock), topics(2), repeats=2, warmup=0, shares=(1.0, 0.5), clock=clock, verbose=True)
    assert "8/8" in capsys.readouterr().err
    profile(three(clock), topics(1), repeats=1, warmup=0, clock=clock)
    assert capsys.readouterr() == ("", "")


@dataclass(frozen=True)
class Liar(Scorer):
    """Tells tokens that cannot be."""

    tell: Callable[[pd.DataFrame], object] = field(default=len, compare=False)

    def count_tokens(self, frame: pd.DataFrame) -> Any:
        """As told."""
        return self.tell(frame)


@pytest.mark.parametrize(
    ("tell", "shape"), [(lambda frame: [1] * (len(frame) - 1), "(9,)"), (lambda frame: [-1] * len(frame), "(10,)")]
)
def test_tokens_that_cannot_be_are_refused(tell: Callable[[pd.DataFrame], object], shape: str) -> None:
    """With the exact message: the stage, what was found and expected."""
    liar = Liar(Stopwatch(), tell=tell)
    with pytest.raises(StageError) as error:
        profile(ToyRetriever(docs=20) % 10 >> liar, topics(1), repeats=1, warmup=0)
    assert str(error.value) == (
        f"the tokens of stage 'scorer' cannot be counted: count_tokens of {liar!r} gave shape {shape}, "
        "expected a number from 0 for each of 10 rows"
    )


PIPELINE = ToyRetriever() % 10 >> ToyReranker() % 5
FIX = "Fix: profile(cascade, topics, repeats=3, warmup=3)"
SHARES = "expected different numbers above 0, such as (1.0, 0.3, 0.1, 0.03)"
BAD: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "all": (
        (PIPELINE, topics(2), "batch"),
        {"repeats": 0, "warmup": -1, "shares": (1, 0)},
        "the cascade cannot be profiled:\n  - mode is 'batch', expected one of interactive, throughput\n"
        "  - repeats is 0, expected a whole number from 1\n  - warmup is -1, expected a whole number from 0\n"
        f"  - shares is (1, 0), {SHARES}\n{FIX}",
    ),
    "one share": (
        (PIPELINE, topics(2)),
        {"shares": 0.5},
        f"the cascade cannot be profiled: shares is 0.5, {SHARES}. {FIX}",
    ),
    "seconds": (
        (PIPELINE, topics(2)),
        {"seconds": 0},
        f"the cascade cannot be profiled: seconds is 0, expected a number above 0, or None. {FIX}",
    ),
    "no share": ((PIPELINE, topics(2)), {"shares": ()}, f"the cascade cannot be profiled: shares is (), {SHARES}. {FIX}"),
    "a share twice": (
        (PIPELINE, topics(2)),
        {"shares": (1, 1.0)},
        f"the cascade cannot be profiled: shares is (1, 1.0), {SHARES}. {FIX}",
    ),
    "no topics": ((PIPELINE, topics(0)), {}, "these topics cannot be profiled: there is no topic"),
    "documents": (
        (PIPELINE, topics(1).assign(docno="d")),
        {},
        "these topics cannot be profiled: they hold documents (docno): a profile starts from queries",
    ),
    "twice": (
        (PIPELINE, pd.concat([topics(1), topics(1)])),
        {},
        "topics are not usable: qid repeats an earlier row in 1 of 2 rows (qid 'q0'). "
        'Fix: topics = topics.drop_duplicates("qid")',
    ),
    "no pipeline": (
        ("bm25", topics(1)),
        {},
        "this is not a pipeline: 'bm25' (str), expected a PyTerrier transformer. "
        "Fix: Cascade.of(retriever % 1000 >> reranker % 20)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_profiled_is_refused(case: str) -> None:
    """Each with its exact message, before anything runs."""
    arguments, options, message = BAD[case]
    with pytest.raises(CascadeError) as error:
        profile(*arguments, **options)
    assert str(error.value) == message


def test_a_stage_that_fails_is_named() -> None:
    """The error is the executor's own."""
    with pytest.raises(StageError, match=r"^stage 'broken' failed on 5 rows"):
        profile(ToyRetriever() % 5 >> Broken(lambda _: 1 / 0), topics(1), warmup=0)


def test_the_options_of_a_cascade_are_set_aside() -> None:
    """A stage that may fail is not timed where it fails; a limit that no stage keeps does not shorten a list."""
    cascade = Cascade.of(ToyRetriever(docs=9) % 9 >> Fragile() % 5).options(on_error="keep", time_limit_ms={"fragile": 1e-9})
    timings = profile(cascade, topics(2), warmup=0, repeats=1, shares=(1.0,))
    pairs = ToyRetriever(docs=9).transform(topics(2))["qid"].value_counts()
    timed = timings.frame.set_index(["stage", "qid"]).loc["fragile"]
    assert timed["docs_in"].to_dict() == pairs.to_dict()
    broken = Cascade.of(ToyRetriever(docs=9) % 9 >> Fragile(fails=frozenset({"q0"})) % 5).options(on_error="keep")
    with pytest.raises(QueryError, match="stage 'fragile' failed"):
        profile(broken, topics(2), warmup=0, repeats=1, shares=(1.0,))
