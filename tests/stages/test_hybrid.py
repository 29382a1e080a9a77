"""The stage hybrid: what it fuses, how it fits into PyTerrier and a cascade, and where PyTerrier's own operators go wrong."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pyterrier_alpha as pta
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import R, nDCG
from toys.rankers import ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade, run, score
from pt_cascade.analysis.fusion.fuse import fuse
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.errors import FrameError, PipelineError, StageError
from pt_cascade.execution.profiling import profile
from pt_cascade.stages.hybrid import Hybrid, hybrid

if TYPE_CHECKING:
    from collections.abc import Callable

ONE, TWO, THREE = (ToyRetriever(docs=12, seed=seed) for seed in (3, 4, 5))
TOPICS = pd.concat([topics(4), pd.DataFrame({"qid": ["q9"], "query": ["nothing"]})], ignore_index=True)
COLUMNS = ["qid", "query", "docno", "score", "rank"]


@dataclass(frozen=True)
class Spy(pt.Transformer):
    """A retriever that remembers what it was given, and then spoils it."""

    given: list[pd.DataFrame] = field(default_factory=list)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Retrieve one document a query."""
        pt.validate.query_frame(inp, extra_columns=["query"], context=self)
        self.given.append(inp.copy())
        found = pt.model.add_ranks(inp.assign(docno="d", score=1.0))
        inp["query"] = "spoilt"
        inp.drop(columns="qid", inplace=True)  # noqa: PD002 - that is the point
        return found


@dataclass(frozen=True)
class Vectors(pt.Transformer):
    """A retriever made as pyterrier_dr's are: where nothing is found docno and rank are floats."""

    found: str = ""

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Retrieve the same documents for every query."""
        pt.validate.query_frame(inp, extra_columns=["query"], context=self)
        docnos = np.array(self.found.split())
        builder = pta.DataFrameBuilder(["docno", "score", "rank"])
        for _ in range(len(inp) if self.found else 0):
            rank = np.arange(len(docnos))
            builder.extend({"docno": docnos, "score": 1 / (rank + 1), "rank": rank})
        return builder.to_df(inp)


def listed(**documents: str) -> pt.Transformer:
    """Make a retriever that finds, by the name of the query, some documents of one letter, best first."""
    rows = [(qid, docno, -float(n), n) for qid, docnos in documents.items() for n, docno in enumerate(docnos)]
    return pt.Transformer.from_df(pd.DataFrame(rows, columns=["qid", "docno", "score", "rank"]))


def asked(**queries: str) -> pd.DataFrame:
    """Make topics."""
    return pd.DataFrame({"qid": list(queries), "query": list(queries.values())})


def docnos(results: pd.DataFrame, qid: str) -> list[str]:
    """List a query's documents as they stand."""
    return results.loc[results["qid"] == qid, "docno"].tolist()


@given(
    st.lists(
        st.builds(ToyRetriever, docs=st.integers(0, 9), levels=st.integers(1, 4), seed=st.integers(0, 5)), min_size=1, max_size=4
    ),
    st.sampled_from([{}, {"k": 3}, {"method": "weighted"}, {"method": "weighted", "normalise": "z-score", "missing": "zero"}]),
)
def test_it_is_the_fusion_of_what_its_retrievers_find(branches: list[ToyRetriever], options: dict[str, object]) -> None:
    """Golden: fuse, which has its own, over the retrievers' frames; rows sorted by topic and rank, the last topic without any."""
    found = hybrid(*branches, **options).transform(TOPICS)
    pd.testing.assert_frame_equal(found, fuse([branch.transform(TOPICS) for branch in branches], **options, topics=TOPICS))
    place = pd.Index(TOPICS["qid"]).get_indexer(found["qid"])
    assert list(zip(place, found["rank"], strict=True)) == sorted(zip(place, found["rank"], strict=True))
    assert "q9" not in set(found["qid"])


def test_reciprocal_ranks_by_hand() -> None:
    """Golden: a at ranks 1 and 2 of two lists, b at 2 and 1, c at 3 and none: 1/61 + 1/62 twice, then 1/63."""
    found = hybrid(listed(p="abc"), listed(p="ba")).transform(asked(p="a query"))
    assert found[["docno", "score", "rank"]].to_numpy().tolist() == [
        ["a", 1 / 61 + 1 / 62, 0],
        ["b", 1 / 61 + 1 / 62, 1],
        ["c", 1 / 63, 2],
    ]


def test_each_retriever_is_asked_once_and_cannot_change_what_the_others_see() -> None:
    """One call each for all topics; a retriever that spoils its frame in place spoils its own."""
    spies = Spy(), Spy()
    given_topics = TOPICS.assign(lang="en")
    kept = given_topics.copy(deep=True)
    found = hybrid(*spies).transform(given_topics)
    assert [len(spy.given) for spy in spies] == [1, 1]
    for frame in (given_topics, *spies[0].given, *spies[1].given):
        pd.testing.assert_frame_equal(frame, kept)
    assert found[["qid", "query", "lang"]].to_numpy().tolist() == kept.to_numpy().tolist()


def test_num_results_is_a_cut() -> None:
    """It keeps what ``%`` would keep."""
    whole = hybrid(ONE, TWO)
    pd.testing.assert_frame_equal(hybrid(ONE, TWO, num_results=4).transform(TOPICS), (whole % 4).transform(TOPICS))


def test_a_pipeline_knows_it_as_any_retriever() -> None:
    """Inspection, sub-transformers, attributes, equality, hash, pickle and fingerprint work as PyTerrier's do."""
    stage = hybrid(ONE, TWO % 5, method="weighted", weights=[1, 2])
    assert pt.inspect.transformer_inputs(stage) == [["qid", "query"]]
    assert pt.inspect.transformer_outputs(stage, ["qid", "query", "lang"]) == ["qid", "query", "lang", *COLUMNS[2:]]
    assert pt.inspect.subtransformers(stage) == {"retrievers": [ONE, TWO % 5]}
    other = pt.inspect.transformer_apply_attributes(stage, normalise="z-score")
    assert other == hybrid(ONE, TWO % 5, method="weighted", weights=(1, 2), normalise="z-score") != stage
    assert pt.inspect.transformer_apply_attributes(stage, retrievers=[TWO, ONE]).retrievers == (TWO, ONE)
    assert {stage: 1}[hybrid(ONE, TWO % 5, method="weighted", weights=(1, 2))] == 1
    assert pickle.loads(pickle.dumps(stage)) == stage  # noqa: S301 - our own
    marks = [fingerprint(Cascade.of(one)[0]) for one in (stage, replace(stage), other, hybrid(ONE, TWO), hybrid(TWO, ONE))]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 4


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTerrier's report
def test_pyterriers_own_test_of_transformers_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden: pt.testing.transformer_test_class, what PyTerrier asks of every transformer; looking up help needs a network."""
    monkeypatch.setattr(pt.documentation, "url_for_class", lambda _: None)
    case = pt.testing.transformer_test_class(lambda: hybrid(ONE, hybrid(TWO, Vectors())))
    drawn = pt.schematic.transformer_schematic(hybrid(ONE, TWO))
    assert (drawn["label"], drawn["inner_pipelines_labels"]) == ("Hybrid", ["retrievers[0]", "retrievers[1]"])
    case.setUpClass()
    for name in ("test_inspect_io", "test_schematic"):
        case(name).debug()
    case.tearDownClass()


def test_inputs_are_what_is_enough_for_every_retriever() -> None:
    """A retriever that wants a vector beside one that wants a query: both columns; two ways of one are two ways of all."""

    @dataclass(frozen=True)
    class Wants(pt.Transformer):
        transform_inputs: list[list[str]]

        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            raise NotImplementedError

    both = hybrid(Wants([["qid", "query"], ["qid", "toks"]]), Wants([["qid", "query_vec"]]))
    assert pt.inspect.transformer_inputs(both) == [["qid", "query", "query_vec"], ["qid", "toks", "query_vec"]]
    assert pt.inspect.transformer_inputs(hybrid(ONE, TWO, THREE)) == [["qid", "query"]]
    either = Wants([["qid", "query"], ["qid", "toks"]])
    assert {*map(frozenset, hybrid(*[either] * 12).transform_inputs())} == {
        *map(frozenset, hybrid(either, either).transform_inputs())
    }
    assert len(hybrid(*[either] * 12).transform_inputs()) == 3


def test_no_topic_gives_no_row() -> None:
    """A frame of 0 rows gives 0 rows with the columns and types of any other, and runs no retriever that PyTerrier can inspect."""

    @dataclass(frozen=True)
    class Fragile(pt.Transformer):
        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            raise ZeroDivisionError(len(inp))

        def transform_outputs(self, input_columns: list[str]) -> list[str]:
            return [*input_columns, "docno", "score", "rank"]

    nothing = hybrid(Fragile(), ONE, Vectors()).transform(TOPICS.iloc[:0])
    assert nothing.dtypes.to_dict() == hybrid(ONE, TWO).transform(TOPICS).dtypes.to_dict()
    assert len(nothing) == 0


BRANCHES = {
    "cut": lambda: ONE % 3,
    "re-ranked": lambda: ONE % 8 >> ToyReranker(),
    "sorted": lambda: ONE >> ToyReranker(sort=True),
    "cascade": lambda: Cascade.of(ONE % 6 >> ToyReranker() % 4),
    "rewritten": lambda: pt.apply.query(lambda row: f"{row['query']} rewritten") >> ONE,
    "nested": lambda: hybrid(ONE, THREE, method="weighted"),
    "sum": lambda: ONE + THREE,
    "vectors": lambda: Vectors("d1 d99"),
    "nothing": Vectors,
}


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch_may_be_any_pipeline(branch: str) -> None:
    """In a cascade with a cut and a re-ranker: read, run as the plain pipeline runs, one row a pair, the query that was asked."""
    stage = hybrid(BRANCHES[branch](), TWO)
    pipeline = stage % 7 >> ToyReranker(seed=8) % 3
    cascade = Cascade.of(pipeline)
    assert repr(cascade) == "hybrid → 7 · toy_reranker → 3"
    assert (cascade[0].documents, cascade[0].depends) == ("retrieves", "listwise")
    live = pipeline.transform(TOPICS)
    pd.testing.assert_frame_equal(run(cascade, TOPICS).results[COLUMNS], live[COLUMNS], check_dtype=False)
    found = stage.transform(TOPICS)
    assert not found.duplicated(["qid", "docno"]).any()
    assert found["query"].tolist() == found["qid"].map(TOPICS.set_index("qid")["query"]).tolist()
    assert set(found["docno"]) >= set(TWO.transform(TOPICS)["docno"])


@settings(max_examples=12)
@given(
    st.sampled_from([hybrid(ONE, TWO), hybrid(ONE % 5, TWO, THREE, method="weighted")]),
    st.integers(1, 25),
    st.integers(1, 25),
    st.booleans(),
)
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too
def test_scored_once_it_replays_every_cut(stage: Hybrid, first: int, second: int, sort: bool) -> None:  # noqa: FBT001 - drawn
    """Golden: the live pipeline at those cut-offs, rows, scores and ties; as a first stage it is asked whole queries."""
    pipeline = stage % 25 >> ToyReranker(sort=sort) % 25
    table = score(pipeline, TOPICS)
    live = (stage % first >> ToyReranker(sort=sort) % second).transform(TOPICS)
    replayed = table.replay((first, second))
    ours, theirs = (frame[COLUMNS].sort_values(["qid", "rank"], ignore_index=True) for frame in (replayed, live))
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)


def test_experiments_and_profiles_take_it() -> None:
    """pt.Experiment, with its validation and both of its plans, and profile run it like any retriever."""
    pipeline = hybrid(ONE, TWO) % 10 >> ToyReranker() % 5
    qrels = pd.DataFrame({"qid": [f"q{n}" for n in range(4)], "docno": "d1", "label": 1})
    systems = [pipeline, Cascade.of(pipeline), hybrid(ONE, TWO)]
    table = pt.Experiment(systems, TOPICS, qrels, [nDCG @ 10, R @ 5], validate="error", verbose=False)
    assert table.iloc[0, 1:].tolist() == table.iloc[1, 1:].tolist()
    tree = pt.Experiment(systems, TOPICS, qrels, [nDCG @ 10, R @ 5], plan="tree", verbose=False)
    assert tree.iloc[:, 1:].to_numpy().tolist() == table.iloc[:, 1:].to_numpy().tolist()
    timed = profile(pipeline, TOPICS, repeats=1, warmup=0).frame
    assert timed["stage"].unique().tolist() == ["hybrid", "toy_reranker"]


def test_given_results_it_fuses_what_re_rankers_make_of_them() -> None:
    """Every branch sees the same rows; each comes out once with its text; the query's columns come from the input."""
    first = ONE.transform(TOPICS).assign(text="a text", query_vec="v")
    both = hybrid(ToyReranker(seed=1, levels=50), ToyReranker(seed=2, levels=50))
    found = both.transform(first)
    assert sorted(zip(found["qid"], found["docno"], strict=True)) == sorted(zip(first["qid"], first["docno"], strict=True))
    assert list(found) == ["qid", "query", "query_vec", "docno", "score", "rank", "text"]
    assert set(found["text"]) == {"a text"}
    best = {qid: docnos(found, qid)[0] for qid in set(found["qid"])}
    alone = fuse([branch.transform(first) for branch in both.retrievers])
    assert best == {qid: docnos(alone, qid)[0] for qid in set(alone["qid"])}
    rewriting = pt.apply.generic(lambda rows: rows.assign(query=rows["query"] + " rewritten")) >> ToyReranker()
    pd.testing.assert_series_equal(
        hybrid(rewriting).transform(first)["query"].drop_duplicates(), first["query"].drop_duplicates(), check_index=False
    )
    cascade = Cascade.of(ONE % 9 >> both % 4 >> ToyReranker(seed=5))
    assert cascade[1].documents == "any"
    pd.testing.assert_frame_equal(
        run(cascade, TOPICS).results[COLUMNS], cascade.pipeline().transform(TOPICS)[COLUMNS], check_dtype=False
    )


def test_re_ranking_it_depends_on_the_list() -> None:
    """Before other stages a replay is refused; as the last stage it is run on what the table replays, as the live pipeline runs."""
    both = hybrid(ToyReranker(seed=1), ToyReranker(seed=2))
    with pytest.raises(PipelineError, match="the scores of stage 'hybrid' depend on other documents"):
        score(ONE % 9 >> both % 4 >> ToyReranker(seed=5), TOPICS)
    cascade = Cascade.of(ONE % 9 >> both % 4)
    done = cascade.finish(score(cascade, TOPICS), (6, 3))
    pd.testing.assert_frame_equal(
        done[COLUMNS], cascade.with_cutoffs(6, 3).pipeline().transform(TOPICS)[COLUMNS], check_dtype=False
    )


# What PyTerrier's operators and pyterrier_alpha do with the same retrievers (pyterrier 1.1.2, pyterrier_alpha 0.16.5).


def test_plus_loses_the_query_and_takes_a_missing_score_for_the_best() -> None:
    """``a + b``: a document only b found has no query, and with log-probabilities the fewer lists it is on the better."""
    one, two = (listed(p=letters) for letters in ("ab", "bc"))
    shared = pt.apply.query(lambda row: row["query"])
    theirs = (shared >> one + two).transform(asked(p="a query")).set_index("docno")
    assert theirs["query"].isna().to_dict() == {"a": False, "b": False, "c": True}
    logs = [
        pt.Transformer.from_df(pd.DataFrame({"qid": "p", "docno": list(d), "score": [-1.0, -1.5], "rank": [0, 1]}))
        for d in ("ab", "ac")
    ]
    theirs = (logs[0] + logs[1]).transform(asked(p="a query")).sort_values("rank")
    assert theirs["docno"].tolist() == ["b", "c", "a"]  # a leads both lists
    ours = hybrid(*logs, method="weighted", normalise="none").transform(asked(p="a query"))
    assert ours["docno"].tolist() == ["a", "b", "c"]
    assert ours["query"].tolist() == ["a query"] * 3


def test_a_union_has_no_scores_to_cut_by() -> None:
    """``(a | b) % 10`` cannot run: a set has no ranks."""
    with pytest.raises(AssertionError):
        ((ONE | TWO) % 10).transform(TOPICS)
    assert (hybrid(ONE, TWO) % 10).transform(TOPICS)["rank"].max() == 9


def test_concatenation_drops_a_query_that_the_first_does_not_answer() -> None:
    """``a ^ b``: the results of b for a query are dropped where a found nothing."""
    one, two, both = listed(p="a"), listed(p="b", q="c"), asked(p="one", q="two")
    assert docnos((one ^ two).transform(both), "q") == []
    assert docnos(hybrid(one, two).transform(both), "q") == ["c"]


def test_rrfusion_counts_from_0_doubles_rewritten_queries_and_loses_columns() -> None:
    """pyterrier_alpha's RRFusion: 1/60 on top, a row for each text of a query, and no text column."""
    rewritten = pt.apply.query(lambda row: f"{row['query']} rewritten") >> listed(p="ab")
    text = listed(p="ab") >> pt.apply.text(lambda row: row["docno"] * 3)
    topic = asked(p="a query")
    theirs = pta.RRFusion(text, rewritten).transform(topic)
    assert theirs["score"].max() == 1 / 60
    assert theirs["docno"].value_counts().to_dict() == {"a": 2, "b": 2}
    assert "text" not in theirs
    ours = hybrid(text, rewritten).transform(topic)
    assert ours[["query", "docno", "score", "text"]].to_numpy().tolist() == [
        ["a query", "a", 2 / 61, "aaa"],
        ["a query", "b", 2 / 62, "bbb"],
    ]


def test_rrfusion_dies_of_a_branch_that_finds_nothing() -> None:
    """Where pyterrier_dr finds nothing docnos are floats, which RRFusion cannot merge with text: it cannot even be inspected."""
    with pytest.raises(pt.inspect.InspectError):
        pt.inspect.transformer_outputs(pta.RRFusion(ONE, Vectors()), ["qid", "query"])
    stage = hybrid(ONE, Vectors())
    assert pt.inspect.transformer_outputs(stage, ["qid", "query"]) == COLUMNS
    assert docnos(stage.transform(TOPICS), "q0") == docnos(hybrid(ONE).transform(TOPICS), "q0")


# What is refused.

BROKEN: dict[str, tuple[Callable[[pd.DataFrame], object], type[Exception], str]] = {
    "twice": (lambda found: pd.concat([found, found]), FrameError, r"retriever 2, .*: \(qid, docno\) repeats an earlier row"),
    "NaN": (lambda found: found.assign(score=np.nan), FrameError, "retriever 2, .*: score is not a finite number"),
    "strangers": (
        lambda found: found.assign(qid=found["qid"] + "x"),
        FrameError,
        "retriever 2, .*: 4 qids not in the topics, e.g. 'q0x'",
    ),
    "no docno": (lambda found: found.drop(columns="docno"), FrameError, "retriever 2, .*: missing or repeated columns: docno"),
    "no frame": (lambda _: [1], StageError, "stage 'hybrid' failed: .* returned list, expected a DataFrame"),
    "an error": (lambda _: 1 / 0, StageError, "stage 'hybrid' failed on 5 rows: .* raised ZeroDivisionError"),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_retriever_that_fails_is_named(wrong: str) -> None:
    """The error says which of the retrievers, what was wrong and where."""
    spoil, kind, message = BROKEN[wrong]
    with pytest.raises(kind, match=message):
        hybrid(ONE, ONE >> pt.apply.generic(lambda found: spoil(found) if len(found) else found)).transform(TOPICS)


def test_a_branch_that_retrieves_takes_no_documents() -> None:
    """``first % 20 >> hybrid(bm25, dense)`` hands documents to retrievers: all of these are named, and where a hybrid stands."""
    for first in (ONE.transform(TOPICS), ONE.transform(TOPICS).iloc[:0]):
        with pytest.raises(PipelineError, match="stage 'hybrid' cannot re-rank") as caught:
            hybrid(ONE, ToyReranker(), TWO).transform(first)
        assert [str(branch) in problem for branch, problem in zip((ONE, TWO), caught.value.problems, strict=True)] == [True, True]
        assert caught.value.fix.startswith("hybrid(bm25, dense) % 20 >> ...")
    with pytest.raises(StageError, match=r"needs column query"):  # wants another column, and would take documents
        hybrid(ToyReranker()).transform(pd.DataFrame({"qid": ["1"], "docno": "d", "score": 1.0, "rank": 0}))


def test_a_missing_column_is_refused() -> None:
    """Who misses a column says so, and what to put before it."""
    with pytest.raises(StageError, match=r"ToyRetriever\(.* needs column query"):
        hybrid(ONE, TWO).transform(pd.DataFrame({"qid": ["1"], "question": ["q"]}))
    with pytest.raises(StageError, match=r"'hybrid' cannot run: it needs column qid") as error:
        hybrid(ONE, TWO).transform(pd.DataFrame({"query": ["q"]}))
    topics = eval(error.value.fix.partition("e.g. ")[2], {"pd": pd})  # noqa: S307 - our own line
    assert len(hybrid(ONE, TWO).transform(topics))
    with pytest.raises(FrameError, match="qid repeats an earlier row"):
        hybrid(ONE).transform(pd.concat([TOPICS, TOPICS]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (hybrid, "there is no run to fuse"),
        (lambda: hybrid([ONE, TWO]), r"retriever 1 is \[ToyRetriever.*\(list\), expected a PyTerrier transformer"),
        (lambda: hybrid(ONE, TWO, weights=(1, 2, 3)), r"weights is \(1, 2, 3\), expected 2 numbers"),
        (lambda: hybrid(ONE, TWO, weights=0.5), r"weights is 0.5, expected 2 numbers"),
        (lambda: hybrid(ONE, TWO, method="sum"), "method is 'sum', expected one of rrf, weighted"),
        (lambda: hybrid(ONE, TWO, num_results=0), "num_results is 0, expected 1 or more"),
        (lambda: hybrid(ONE, TWO, num_results=True), "num_results is True"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(make: Callable[[], Hybrid], message: str) -> None:
    """Not when it is first asked, after an hour of work."""
    with pytest.raises(PipelineError, match=message):
        make()


def test_impossible_options_are_refused_together() -> None:
    """Three mistakes are three problems of one error."""
    with pytest.raises(PipelineError) as caught:
        hybrid(ONE, "bm25", k=-1, num_results=0)
    assert len(caught.value.problems) == 3
