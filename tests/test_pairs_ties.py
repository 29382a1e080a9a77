"""How a pairwise stage orders equal scores and rows, found out with made-up answers; and what cannot be found out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from threading import Lock
from typing import TYPE_CHECKING, get_args

import pandas as pd
import pyterrier as pt
import pytest
from duellists import Asked, Duellist
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import Judge
from tabling import chain
from test_replay import assert_same
from toys import ToyRetriever, topics, toss

from pt_cascade import Cascade, Stage
from pt_cascade.analysis.preferences import Aggregation
from pt_cascade.analysis.tie_rules import EVERY_RULE, choose_rule
from pt_cascade.errors import PipelineError
from pt_cascade.execution.rehearsal import rehearse
from pt_cascade.execution.scoring import score
from pt_cascade.stages.pairwise import PairReranker

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.ranking import Floats, Ints

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too
FEW = pd.DataFrame({"qid": "1", "query": "q", "docno": [*"abc"], "score": [3.0, 2.0, 1.0], "rank": [0, 1, 2]})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's chunks to itself."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


@dataclass(frozen=True)
class Rps(Duellist):
    """Rock, paper, scissors: of two documents one always wins, and of three each may."""

    def judge(self, query: str, one: str, other: str) -> float:
        """Let one of the two win, whichever is asked first."""
        return 0.8 if (toss(self.seed, query, *sorted((one, other)), sides=2) == 0) == (one < other) else 0.2


@dataclass(frozen=True)
class PlainRps(PairReranker):
    """The same, ranked as any re-ranker."""

    aggregation: Aggregation = "binary"
    stage_name = "rps"

    def needs(self) -> list[str]:
        """It reads the query."""
        return ["query"]

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Compare."""
        return Rps().compare(results, first, second)


@dataclass(frozen=True)
class Load(pt.Transformer):
    """A loader of texts, which may put rows in the order of their ranks."""

    sorts: bool = False

    depends = "point"
    documents = "same"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Add a text."""
        pt.validate.result_frame(inp, context=self)
        given = inp.sort_values(["qid", "rank"]).reset_index(drop=True) if self.sorts else inp
        return given.assign(text="x")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([Rps("binary", ties="rank")], ("given", "rank")),
        ([Rps("binary", ties="given")], ("given", "given")),
        ([Rps("binary", rows="rank")], ("rank", "given")),
        ([PlainRps()], ("given", "given")),
        ([Load(), PlainRps()], ("given", "given")),
        ([Load(), Rps("binary", rows="rank", ties="rank")], ("rank", "rank")),
    ],
    ids=["by rank", "by row", "sorted", "plain", "loader", "loader, sorted by rank"],
)
def test_ties_of_three_of_which_no_two_tie_are_replayed(parts: list[pt.Transformer], told: tuple[str, str]) -> None:
    """Golden: the live pipeline at every vector of cut-offs: no two documents ever tie with each other, only three or more do."""
    first, judge, tied = ToyRetriever(docs=8, levels=8), Judge(3, 50), 0
    last = Stage("rps", tuple(parts), depends="pair", documents="same")
    cascade = Cascade((*Cascade.of(first % 8 >> judge % 5), last))
    table = score(cascade, topics(4))
    assert table.columns[-1].rule == told
    for cutoffs in product(range(1, 9), range(1, 6)):
        live = cascade.with_cutoffs(*cutoffs, None).transform(topics(4))
        assert_same(table.replay((*cutoffs, None)), live)
        tied += int(live.duplicated(["qid", "score"]).sum())
    assert tied > 20
    assert set(table.duels["rps"].p) == {0.2, 0.8}


@settings(max_examples=20)
@given(
    st.sampled_from(get_args(Aggregation)),
    st.sampled_from(["given", "rank"]),
    st.sampled_from(["given", "rank"]),
    st.integers(2, 4),
)
def test_the_rules_are_found_out_of_any_few_documents(how: str, rows: str, ties: str, count: int) -> None:
    """Whatever is added up, and however the documents are given; the stage's own comparisons are not asked."""
    last = Duellist(how, rows=rows, ties=ties, log=Asked())
    stage = Cascade.of(pt.Transformer.from_df(FEW) % 9 >> last)[1]
    few = pd.concat([FEW, FEW.assign(docno="0")]).head(count)
    assert choose_rule(rehearse(stage, few, EVERY_RULE)) == (rows, ties)
    assert (last.log.duels, last.log.live) == ([], 0)


@dataclass(frozen=True)
class ByName(Duellist):
    """Breaks ties by docno."""

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank by score, then by docno."""
        ranked = super().transform(inp)
        order = ranked.sort_values(["qid", "score", "docno"], ascending=[True, False, True])
        return order.assign(rank=order.groupby("qid").cumcount()).loc[inp.index]


class Deaf(Duellist):
    """Scores by something else than its comparisons."""

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by docno."""
        return pt.model.add_ranks(inp.assign(score=inp["docno"].map(lambda docno: float(ord(docno[0])))))


@dataclass(frozen=True)
class Locked(Duellist):
    """Has no copy."""

    lock: object = None


def test_a_stage_that_breaks_ties_by_docno_is_told() -> None:
    """Its rows stay, equal scores follow the docnos."""
    rules = rehearse(Stage("rps", (ByName(),), depends="pair"), FEW, EVERY_RULE)
    assert choose_rule(rules) == ("given", "docno")


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        (
            [Load(sorts=True), PlainRps()],
            "stage 'rps' cannot be replayed: it orders its rows, or equal scores, by no known rule",
        ),
        ([Deaf()], "how stage 'rps' orders equal scores cannot be told: its scores do not follow from what its comparisons say"),
        (
            [Locked(lock=Lock())],
            "cannot be told: it ranks in its own way, and has no copy to try it with: cannot pickle '_thread.lock'",
        ),
    ],
    ids=["sorting loader", "deaf", "locked"],
)
def test_what_stays_undecided_is_refused(parts: list[pt.Transformer], problem: str) -> None:
    """A stage with rules of its own, or that cannot be tried, is not guessed at."""
    with pytest.raises(PipelineError) as caught:
        rehearse(Stage("rps", tuple(parts), depends="pair"), FEW, EVERY_RULE)
    assert problem in str(caught.value)


def test_made_up_answers_are_kept_nowhere() -> None:
    """A stage that remembers what it ranked never remembers what was made up."""

    @dataclass(frozen=True)
    class Remembers(Duellist):
        memory: tuple[list[float], ...] = ([],)

        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            ranked = super().transform(inp)
            self.memory[0].extend(ranked["score"])
            return ranked

    last = Remembers("sum", 3, 4, memory=([],))
    score(chain(ToyRetriever(docs=12), [last], (6, None)), topics(2))
    alone = Duellist("sum", 3, 4).transform(ToyRetriever(docs=12).transform(topics(2)).query("rank < 4"))
    assert 2 <= len(last.memory[0]) <= 4
    assert set(last.memory[0]) <= set(alone["score"])
