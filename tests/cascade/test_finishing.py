"""The answer of a cascade whose last stage looks at the whole list: replayed up to it, then run, as if all had run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.judges import Judge
from toys.rankers import ToyReranker, ToyRetriever, topics
from toys.strategies import JUDGES

import pt_cascade as ptc
from pt_cascade import Cascade, run
from pt_cascade.errors import CascadeError, StageError, TableError
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = ToyRetriever(docs=12, levels=3)
TEXT = pt.apply.text(lambda row: f"{row['docno']} of {row['query']}")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's chunks to itself."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


@dataclass(frozen=True)
class Lister(pt.Transformer):
    """Scores by where a document stands and how many there are: the same pair differs with every cut-off before."""

    needs: str = "query"
    documents = "reranks"
    depends = "listwise"
    stage_name = "lister"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Turn the middle of the list to its top."""
        pt.validate.result_frame(inp, extra_columns=[self.needs], context=self)
        size = inp.groupby("qid")["qid"].transform("size")
        score = inp["rank"] * (size - inp["rank"]) + inp[self.needs].str.len() / 100
        return pt.model.add_ranks(inp.assign(score=score.astype(float)))


def ranking(results: pd.DataFrame) -> list[tuple[str, int, str, float]]:
    """Read a frame as its rows, queries by name."""
    return list(results.sort_values("qid", kind="stable")[["qid", "rank", "docno", "score"]].itertuples(index=False, name=None))


@settings(max_examples=5)
@given(JUDGES, st.tuples(st.integers(1, 12), st.integers(1, 6), st.integers(1, 4)))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_any_cutoffs_give_the_live_answer(judge: Judge, cutoffs: tuple[int, int, int]) -> None:
    """Golden: the plain pipeline at the same cut-offs, rows, ranks and scores; without cut-offs the cascade's own."""
    cascade = Cascade.of(FIRST % 12 >> judge % 6 >> Lister() % 4)
    table = score(cascade, topics(3))
    assert (table.stages, table.paths[0].live, table.paths[0].cutoffs) == (("toy", judge.stage_name), "lister", (12, 6))
    assert ranking(cascade.finish(table, cutoffs)) == ranking(cascade.with_cutoffs(*cutoffs).pipeline().transform(topics(3)))
    assert ranking(cascade.finish(table)) == ranking(cascade.pipeline().transform(topics(3)))


def test_what_was_loaded_on_the_way_is_there_for_the_last_stage() -> None:
    """A rewritten query and a text, loaded before, within or after earlier stages; what the ending loads comes last."""
    rewrite, url = pt.apply.query(lambda row: row["query"] + " again"), pt.apply.url(lambda row: row["docno"])
    cascade = Cascade.of(rewrite >> FIRST >> TEXT >> pt.RankCutoff(9) >> ToyReranker() % 5 >> Lister("text") % 2 >> url)
    table = score(cascade, topics(3))
    live, ours = cascade.pipeline().transform(topics(3)), cascade.finish(table)
    assert ranking(ours) == ranking(live)
    assert ours["text"].str.endswith(" again").all()
    assert ours["url"].tolist() == live["url"].tolist()


def test_a_listwise_first_stage_is_replayed() -> None:
    """The scores of a first stage depend on no cut-off before it, so a shorter cascade finishes from the same table."""
    hybrid = ptc.stages.hybrid(FIRST, ToyRetriever(docs=9, levels=2))
    table = score(hybrid % 6 >> Judge(), topics(3))
    assert ranking(Cascade.of(hybrid % 6).finish(table)) == ranking((hybrid % 6).transform(topics(3)))


def test_columns_of_the_given_results_come_back() -> None:
    """A cascade that starts from results with texts is finished with them; without, the last stage says what it lacks."""
    found = TEXT.transform(FIRST.transform(topics(3))).drop(columns=["score", "rank"])
    cascade = Cascade.of(Judge() % 5 >> Lister("text") % 3)
    table = score(cascade, found)
    assert ranking(cascade.finish(table, topics=found)) == ranking(cascade.pipeline().transform(found))
    with pytest.raises(StageError, match=r"needs column text; its input has qid, docno, score, rank, query"):
        cascade.finish(table)


def test_a_saved_table_knows_its_stages_again(tmp_path: Path) -> None:
    """Stages are found by what they are, whatever they are called; one that the table has is replayed, and never run."""
    cascade = Cascade.of(FIRST % 9 >> Judge(1) % 5 >> Judge(2) % 3)
    score([cascade, FIRST % 9 >> Judge(2) % 4], topics(3)).save(tmp_path / "t")
    table = ScoreTable.load(tmp_path / "t")
    twin = Cascade.of(FIRST % 9 >> Judge(2) % 4 >> Lister()).with_stage(1, name="t5")
    assert ranking(twin.finish(table, (9, 4, 2))) == ranking(twin.with_cutoffs(9, 4, 2).pipeline().transform(topics(3)))
    judge = Judge(2)
    whole = Cascade.of(FIRST % 9 >> Judge(1) % 5 >> judge % 3)
    assert ranking(whole.finish(table)) == ranking(cascade.pipeline().transform(topics(3)))
    assert judge.log.calls == []


@pytest.mark.parametrize(
    ("cascade", "cutoffs", "message"),
    [
        (
            FIRST % 9 >> Judge(3) % 3 >> Lister() % 2,
            None,
            "the table does not hold this cascade: it has toy, judge; toy → 9 · judge → 3 · lister → 2 needs 'judge', 'lister' as "
            "well. Fix: table = score(cascade, topics)",
        ),
        (
            FIRST % 9 >> Judge(1) % 3 >> Lister() % 2,
            (9, 3),
            "this is not a vector of cut-offs: 2 cut-offs (9, 3) for 3 stages toy, judge, lister. "
            "Fix: pass one cut-off for each stage, None for no cut",
        ),
    ],
)
def test_missing_stages_of_the_table_are_reported(cascade: pt.Transformer, cutoffs: tuple[int, ...] | None, message: str) -> None:
    """Another model under the same name is another stage; cut-offs are one a stage; deeper ones than the table's are refused."""
    table = score(FIRST % 4 >> Judge(1) % 3, topics(2))
    with pytest.raises(CascadeError) as error:
        Cascade.of(cascade).finish(table, cutoffs)
    assert str(error.value) == message
    with pytest.raises(TableError, match="the table does not cover these cut-offs"):
        Cascade.of(FIRST % 9 >> Judge(1) % 3 >> Lister()).finish(table, (10, 3, 2))


def test_a_part_that_changes_the_documents_cannot_be_repeated() -> None:
    """A part beside a scorer that drops the same rows when it runs again is fine; one that then drops others is refused."""

    def dropping(keep: Callable[[pd.DataFrame], pd.Series]) -> Cascade:
        drops = pt.apply.generic(lambda frame: pt.model.add_ranks(frame[keep(frame)].copy()), transform_outputs=list)
        return Cascade.of(FIRST >> drops >> pt.RankCutoff(5) >> Judge() % 3 >> Lister() % 2)

    odd = dropping(lambda frame: frame["docno"].str.len() > 2)
    assert ranking(odd.finish(score(odd, topics(2)))) == ranking(odd.pipeline().transform(topics(2)))
    best = dropping(lambda frame: frame["rank"] > 0)
    with pytest.raises(TableError) as error:
        best.finish(score(best, topics(2)))
    assert str(error.value) == (
        "this cascade cannot be finished from a table: pt.apply.generic() in stage 'toy' changes the documents. "
        "Fix: run(cascade, topics)"
    )


MIX = pt.apply.by_query(
    lambda df: pt.model.add_ranks(df.assign(score=df["first"] + df["score"] - df["score"].max()).drop(columns="rank"))
)
COPIES = {
    "a score": pt.apply.first(lambda row: row["score"]),
    "a rank": pt.apply.first(lambda row: row["rank"]),
    "a high score": pt.apply.first(lambda row: float(row["score"] > 1)),
    "an early rank": pt.apply.first(lambda row: float(row["rank"] < 2)),
    "a renamed score": pt.apply.rename({"score": "first"}),
    "the length of the list": pt.apply.generic(lambda df: df.assign(first=df.groupby("qid")["qid"].transform("size"))),
}


@pytest.mark.parametrize("case", COPIES)
def test_a_column_made_of_an_earlier_score_is_refused(case: str) -> None:
    """On the way it was another than what its loader would make of the replayed rows. Golden for the cure: the plain pipeline."""
    cascade = Cascade.of(FIRST % 9 >> COPIES[case] >> Judge(2, levels=5) % 6 >> MIX % 3).with_stage(-1, depends="listwise")
    table = score(cascade, topics(3))
    with pytest.raises(TableError, match="cannot be finished from a table: column 'first' depends on the score") as error:
        cascade.finish(table)
    assert error.value.fix == "run(cascade, topics)"
    assert ranking(run(cascade, topics(3)).results) == ranking(cascade.pipeline().transform(topics(3)))
    own = Cascade.of(FIRST % 9 >> pt.apply.first(lambda row: float(len(row["docno"]))) >> Judge(2) % 6 >> MIX % 3)
    own = own.with_stage(-1, depends="listwise")
    assert ranking(own.finish(score(own, topics(3)))) == ranking(own.pipeline().transform(topics(3)))


def test_an_ending_reads_what_was_loaded_on_the_way() -> None:
    """A threshold on a text, and a loader that reads it. Golden: the plain pipeline."""
    before = FIRST % 9 >> TEXT >> Judge() % 5
    cascade = Cascade.of(before >> pt.apply.generic(lambda df: df[df["text"].str.startswith("d1")]) >> pt.apply.first(len))
    table = score(before, topics(3))
    assert ranking(cascade.finish(table)) == ranking(cascade.pipeline().transform(topics(3)))


@settings(max_examples=8)
@given(JUDGES, st.tuples(st.integers(1, 12), st.integers(1, 6), st.integers(1, 4)), st.sampled_from(["pointwise", "listwise"]))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_a_kept_tail_is_the_live_one_to_the_last_bit(judge: Judge, cutoffs: tuple[int, int, int], depends: str) -> None:
    """Golden: the live cascade, with a last stage that is replayed or run, and an ending that adds a column."""
    last = Lister() if depends == "listwise" else ToyReranker(seed=9)
    url = pt.apply.url(lambda row: row["docno"])
    cascade = Cascade.of(FIRST % 12 >> judge % 6 >> last % 4 >> url).options(tail="keep")
    table = score(cascade, topics(3))
    live, ours = cascade.with_cutoffs(*cutoffs).transform(topics(3)), cascade.finish(table, cutoffs)
    assert ranking(ours) == ranking(live)
    columns = ["qid", "docno", "cut_by", "url"]
    assert sorted(map(tuple, ours[columns].to_numpy())) == sorted(map(tuple, live[columns].to_numpy()))
    if depends == "pointwise":
        assert ranking(table.replay(cutoffs, tail="keep")) == ranking(live)
