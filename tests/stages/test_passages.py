"""Documents scored by their passages: PyTerrier's own pipeline is the reference, with its ties, for toys and real stages."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.cross_encoders import save
from toys.rankers import ToyRetriever, topics, toss

import pt_cascade as ptc
from pt_cascade import Cascade
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.errors import CascadeError, PipelineError, StageError
from pt_cascade.stages.base.identity import can_identify
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.passages import passages

SHOWN = ["qid", "docno", "score", "rank"]


@dataclass(frozen=True)
class Reader(pt.Transformer):
    """Scores a row by a hash of query and text with few values, and remembers the texts; in the number type that is asked for."""

    levels: int = 3
    seed: int = 1
    dtype: str = "float64"
    read: deque[str] = field(default_factory=deque, compare=False, repr=False)  # PyTerrier takes a list for stages
    documents = "reranks"
    depends = "pointwise"
    stage_name = "reader"
    schematic = {"label": "Reader", "help_url": None}  # noqa: RUF012 - as PyTerrier reads it

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Re-rank; the rows stay in order."""
        pt.validate.result_frame(inp, extra_columns=["query", "text"], context=self)
        self.read.extend(inp["text"])
        score = [toss(self.seed, row.query, row.text, sides=self.levels) / 3 for row in inp.itertuples()]
        return pt.model.add_ranks(inp.assign(score=np.array(score, self.dtype)))

    def identify(self) -> dict[str, str]:
        """Identify by value."""
        return {"class": "Reader", "levels": str(self.levels), "seed": str(self.seed), "dtype": self.dtype}

    def count_tokens(self, frame: pd.DataFrame) -> list[int]:
        """Count words."""
        return [len(text.split()) for text in frame["text"]]


def by_hand(stage: pt.Transformer, length: int, stride: int, take: str, k: int | None = None) -> pt.Transformer:
    """PyTerrier's pipeline."""
    put = {"max": pt.text.max_passage, "first": pt.text.first_passage, "mean": pt.text.mean_passage}
    end = pt.text.kmaxavg_passage(k) if take == "kmax" else put[take]()
    return pt.text.sliding("text", length, stride, prepend_attr=None) >> stage >> end


def frame(texts: dict[str, str], qids: tuple[str, ...] = ("2", "1")) -> pd.DataFrame:
    """Results to re-rank: the same documents for each query, in the order given."""
    rows = [(qid, f"query {qid}", docno, text, -float(n), n) for qid in qids for n, (docno, text) in enumerate(texts.items())]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "text", "score", "rank"])


WORDS = st.sampled_from(["a", "b", "heat", "flow", "", "ß"])
TEXTS = st.dictionaries(st.sampled_from([f"d{n}" for n in range(12)]), st.lists(WORDS, max_size=9).map(" ".join), min_size=1)
SIZES = st.integers(1, 5).flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length)))
READERS = st.builds(Reader, st.integers(1, 4), st.integers(1, 3), st.sampled_from(["float64", "float32"]))
TAKES = st.sampled_from([("max", None), ("first", None), ("mean", None), ("kmax", 1), ("kmax", 2), ("kmax", 9)])


@given(TEXTS, SIZES, READERS, TAKES)
@settings(max_examples=25)
def test_the_ranking_is_that_of_pyterrier(
    texts: dict[str, str], size: tuple[int, int], reader: Reader, take: tuple[str, int | None]
) -> None:
    """Scores, their type, ranks, ties and rows, to the last bit; the columns of the document stay; the input is not changed."""
    given_frame = frame(texts)
    before = given_frame.copy()
    how, k = take
    stage = passages(reader, length=size[0], stride=size[1], take=how, k=k)  # type: ignore[arg-type]
    found, wanted = stage.transform(given_frame), by_hand(reader, *size, how, k).transform(given_frame)
    pd.testing.assert_frame_equal(found[SHOWN], wanted[SHOWN].reset_index(drop=True))
    pd.testing.assert_frame_equal(given_frame, before)
    kept = found.merge(before, on=["qid", "docno"], validate="one_to_one")
    assert (kept["text_x"] == kept["text_y"]).all()
    assert stage.score(given_frame).tolist() == before.merge(wanted, on=["qid", "docno"])["score_y"].tolist()


def snippets(cheap: pt.Transformer, length: int, stride: int, best: int) -> pt.Transformer:
    """Choose the best passages of each document as ``pt.text.snippets`` does: by a query of its own and a cut-off."""
    apart = pt.apply.qid(lambda row: f"{row['qid']} {row['docno'].partition('%p')[0]}")
    chosen = pt.text.sliding("text", length, stride, prepend_attr=None) >> apart >> cheap % best
    return chosen >> pt.apply.qid(lambda row: row["qid"].partition(" ")[0])


@given(TEXTS, SIZES, READERS, READERS, st.integers(1, 4), st.sampled_from([("max", None), ("mean", None), ("kmax", 2)]))
@settings(max_examples=15)
def test_a_cheap_stage_picks_the_passages(
    texts: dict[str, str], size: tuple[int, int], cheap: Reader, dear: Reader, best: int, take: tuple[str, int | None]
) -> None:
    """As PyTerrier's pipeline; the dear stage reads those alone, and the pairs of both count."""
    how, k = take
    given_frame, read = frame(texts), (Reader(cheap.levels, seed=7), Reader(dear.levels, seed=8))
    end = by_hand(read[1], *size, how, k)[-1]
    wanted = (snippets(read[0], *size, best) >> read[1] >> end).transform(given_frame)
    asked = [len(one.read) for one in read]
    stage = passages(read[1], length=size[0], stride=size[1], take=how, k=k, first=read[0], best=best)  # type: ignore[arg-type]
    found = stage.transform(given_frame)
    pd.testing.assert_frame_equal(found[SHOWN], wanted[SHOWN].reset_index(drop=True))
    assert [len(one.read) - before for one, before in zip(read, asked, strict=True)] == asked
    assert stage.count_pairs(given_frame).sum() == sum(asked)
    words = [sum(len(text.split()) for text in list(one.read)[: len(one.read) // 2]) for one in read]
    assert stage.count_tokens is not None
    assert stage.count_tokens(given_frame).sum() == sum(words)


TALES = {"b": "heat flow in a rod", "a": "heat flow", "c": "", "d": "flow"}
LENGTHS = pt.apply.doc_score(lambda row: float(len(row["text"])))
GOLDEN = {  # windows of 2 words, stride 2: b "heat flow" 9, "in a" 4, "rod" is not a whole one; a 9; c 0; d 4
    "max": ({"take": "max"}, [9.0, 9.0, 0.0, 4.0], [0, 1, 3, 2]),
    "first": ({"take": "first"}, [9.0, 9.0, 0.0, 4.0], [0, 1, 3, 2]),
    "mean": ({"take": "mean"}, [9.0, 6.5, 0.0, 4.0], [0, 1, 3, 2]),
    "the best one": ({"take": "kmax", "k": 1}, [9.0, 9.0, 0.0, 4.0], [0, 1, 3, 2]),
    "the best two": ({"take": "kmax", "k": 2}, [9.0, 6.5, 0.0, 4.0], [0, 1, 3, 2]),
    "titles": ({"title_field": "title"}, [11.0, 11.0, 2.0, 6.0], [0, 1, 3, 2]),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_scores_by_hand(case: str) -> None:
    """Worked out on paper: short and empty texts are one passage, of equal scores the lower docno is first."""
    options, score, rank = GOLDEN[case]
    found = passages(LENGTHS, length=2, stride=2, **options).transform(frame(TALES, ("1",)).assign(title="T"))
    assert found["docno"].tolist() == ["a", "b", "c", "d"]
    assert (found["score"].tolist(), found["rank"].tolist()) == (score, rank)
    assert passages(LENGTHS, length=2, stride=2).count_pairs(frame(TALES, ("1",))).tolist() == [2, 1, 1, 1]


def test_titles_stand_before_passages_as_in_pyterrier() -> None:
    """Where no document is shorter than a passage, on which PyTerrier's own sliding fails."""
    given_frame = frame({"a": "one two three four", "b": "five six"}).assign(title=["T", "U", "V", "W"])
    reader = Reader(levels=1000)
    wanted = pt.text.sliding("text", 2, 1, prepend_attr="title") >> reader >> pt.text.max_passage()
    found = passages(reader, length=2, stride=1, title_field="title").transform(given_frame)
    pd.testing.assert_frame_equal(found[SHOWN], wanted.transform(given_frame)[SHOWN].reset_index(drop=True))
    assert list(reader.read)[:8] == list(reader.read)[8:]
    assert reader.read[0] == "T one two"
    with pytest.raises(CascadeError, match="title is missing or not text in 1 of 4"):
        passages(reader, title_field="title").transform(given_frame.assign(title=["T", None, "V", "W"]))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny cross-encoder of random weights."""
    return str(save("bert", tmp_path_factory.mktemp("bert")))


@pytest.mark.parametrize("kind", ["cross_encoder", "mono_t5"])
@pytest.mark.parametrize("take", ["max", "mean", "kmax", "first"])
def test_models_rank_as_in_pyterrier(kind: str, take: str, bert: str, t5: str, pairs: pd.DataFrame) -> None:
    """Real stages over texts of 0 to 200 words: the same bits; of first passages alone, in other batches, to 1e-5."""
    one = pairs[pairs["qid"] != "q2"]
    pairs = one.assign(query="heat flow of " + one["qid"], text=[" ".join(text.split(" ")[:200]) for text in one["text"]])
    stage = ptc.stages.cross_encoder(bert) if kind == "cross_encoder" else ptc.stages.mono_t5(t5, max_length=64)
    k = 3 if take == "kmax" else None
    found = passages(stage, length=40, stride=20, take=take, k=k).transform(pairs)  # type: ignore[arg-type]
    wanted = by_hand(stage, 40, 20, take, k).transform(pairs)[SHOWN].reset_index(drop=True)
    assert len({*wanted["score"]}) > 20
    if take == "first":
        np.testing.assert_allclose(found["score"], wanted["score"], atol=1e-5)
    else:
        pd.testing.assert_frame_equal(found[SHOWN], wanted)


# --- in a cascade


@dataclass(frozen=True)
class Tell(pt.Transformer):
    """A text loader: each document has a number of words that depends on its docno."""

    documents = "reranks"
    depends = "pointwise"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Add the texts."""
        pt.validate.result_frame(inp, context=self)
        return inp.assign(text=[" ".join(f"w{n}" for n in range(toss(docno, sides=30) + 1)) for docno in inp["docno"]])


FIRST, READER = ToyRetriever(docs=16), Reader()
STAGE = passages(READER, length=8, stride=3)
PIPELINE = FIRST % 9 >> Tell() >> STAGE % 4
HAND = FIRST % 9 >> Tell() >> by_hand(READER, 8, 3, "max") % 4


def test_a_cascade_reads_both_alike() -> None:
    """The stage and PyTerrier's pipeline have one name, dependence and documents, and count the same pairs."""
    ours, theirs = Cascade.of(PIPELINE), Cascade.of(HAND)
    assert repr(ours) == repr(theirs) == "toy → 9 · reader → 4"
    assert [(one[1].depends, one[1].documents) for one in (ours, theirs)] == [("pointwise", "reranks")] * 2
    traces = [ptc.run(one, topics(5)).trace[["stage", "qid", "docs_in", "docs_out", "pairs"]] for one in (ours, theirs)]
    pd.testing.assert_frame_equal(*traces)
    windows = Tell().transform(FIRST.transform(topics(5)).query("rank < 9"))["text"].str.split().str.len()
    assert traces[0]["pairs"].sum() == sum(max((n - 8) // 3 + 1, 1) for n in windows) > traces[0]["docs_in"].sum()
    pd.testing.assert_frame_equal(ptc.run(ours, topics(5)).results[SHOWN], ptc.run(theirs, topics(5)).results[SHOWN])


@pytest.mark.parametrize("pipeline", [PIPELINE, HAND])
@pytest.mark.parametrize("stage", [STAGE, passages(READER, length=8, stride=3, first=Reader(seed=5), best=2)])
def test_a_table_replays_it(pipeline: pt.Transformer, stage: pt.Transformer) -> None:
    """At every cut-off the ranking is that of the live cascade, whose many ties rank by docno."""
    cascade = Cascade.of(pipeline if pipeline is HAND else FIRST % 9 >> Tell() >> stage % 4)
    table = ptc.score(cascade, topics(5))
    for cutoffs in [(9, 4), (7, 3), (2, 2), (1, 1)]:
        live = cascade.with_cutoffs(*cutoffs).transform(topics(5)).sort_values(["qid", "rank"])[SHOWN]
        pd.testing.assert_frame_equal(
            table.replay(cutoffs).sort_values(["qid", "rank"])[SHOWN].reset_index(drop=True),
            live.reset_index(drop=True),
            check_dtype=False,
        )


def test_costs_count_passages(tmp_path: Path) -> None:
    """A clock that gives each passage 7 ms: 7 ms a pair are found again, and a sweep counts as many pairs as were read."""
    stage = passages(Reader(), length=8, stride=8, first=Reader(seed=5), best=1)
    now = [0.0]

    def clock() -> float:
        read = [one for part in stage.stages for one in part.read]
        now[0] += 0.007 * len(read)
        for part in stage.stages:
            part.read.clear()
        return now[0]

    cascade = Cascade.of(FIRST % 9 >> Tell() >> stage % 4)
    timings = ptc.profile(cascade, topics(6), repeats=1, warmup=1, shares=(1.0, 0.3), clock=clock)
    rows = timings.frame[timings.frame["stage"] == "reader"].sort_values("qid")
    assert rows["ms"].to_numpy() == pytest.approx(7.0 * rows["pairs"].to_numpy())
    trace = ptc.run(cascade, topics(6)).trace.query("stage == 'reader'")
    deepest = rows[rows["share"] == 1]
    assert deepest["pairs"].tolist() == trace["pairs"].tolist()
    cost = timings.cost()
    assert cost.stages[1].per_pair_ms == pytest.approx(7.0)
    assert cost.stages[1].pairs_per_document == pytest.approx(trace["pairs"].sum() / trace["docs_in"].sum())
    assert cost.stages[1].pairs_per_document > 2
    assert cost.frame(np.array([[9, 4]]), percentiles=())["pairs"].item() == pytest.approx(trace["pairs"].mean())
    assert cost.stages[1].tokens_per_pair == pytest.approx(rows["tokens"].sum() / rows["pairs"].sum())
    timings.save(tmp_path / "timings")
    pd.testing.assert_frame_equal(ptc.Timings.load(tmp_path / "timings").frame, timings.frame, check_dtype=False)


def test_money_counts_passages() -> None:
    """By hand: 10 documents of 15 passages are 150, two search units, and 150 times the price of a pair."""
    cost = ptc.StageCost("rerank", per_pair_ms=2, usd_per_pair=0.01, usd_per_search=1.0, pairs_per_document=15)
    found = ptc.Cost.of(ptc.StageCost("bm25"), cost).frame(np.array([[10, 5]])).iloc[0].to_dict()
    assert found == {"ms": 300.0, "pairs": 150.0, "usd": pytest.approx(3.5)}


# --- caches, identity, inspection


def test_a_cache_inside_keeps_passages_and_one_outside_documents(tmp_path: Path) -> None:
    """The same ranking as without, cold and warm; the number of kept scores is that of different texts."""
    given_frame = frame({"c": "one two three", "b": "two three", "a": "one two three", "d": "one two"})
    bare, read = passages(Reader(), length=2, stride=1, take="mean"), Reader()
    wanted = bare.transform(given_frame)
    inside = passages(ptc.stages.cached(read, tmp_path / "in", reads="text"), length=2, stride=1, take="mean")
    outside = ptc.stages.cached(passages(read, length=2, stride=1, take="mean"), tmp_path / "out", reads="text")
    for stage, kept in ((inside, 2 * 2), (outside, 2 * 3)):  # passages: one two, two three; documents: a and c are one
        for _ in range(2):
            asked = len(read.read)
            pd.testing.assert_frame_equal(stage.transform(given_frame)[SHOWN].reset_index(drop=True), wanted[SHOWN])
        assert len(read.read) == asked
        assert (stage.stage if stage is inside else stage).score_cache().count() == kept  # type: ignore[union-attr]
        assert ptc.run(Cascade.of(stage), given_frame).trace["pairs"].sum() == bare.count_pairs(given_frame).sum()
    other = passages(read, length=2, stride=2, take="mean")
    with pytest.raises(CascadeError, match="another stage"):
        ptc.stages.cached(other, tmp_path / "out")


def test_a_model_stage_is_cached_by_text(bert: str, tmp_path: Path) -> None:
    """A stage of the package knows which columns it reads: a document of another name and the same text is not scored again."""
    stage = ptc.stages.cached(passages(ptc.stages.cross_encoder(bert), length=2, stride=1), tmp_path / "scores")
    stage.transform(frame({"a": "one two three"}))
    stage.transform(frame({"b": "one two three"}).assign(url="x"))
    assert stage.score_cache().count() == 2
    table = ptc.score(FIRST % 9 >> Tell() >> stage.stage % 4, topics(3), score_cache=tmp_path / "all")
    assert len(list((tmp_path / "all").glob("cross_encoder-*.sqlite"))) == 1
    assert table.stages == ("toy", "cross_encoder")


def test_every_setting_is_part_of_the_identity() -> None:
    """Of scores and of score tables; equal stages have equal ones; a stage without an identity gives none."""
    made = [
        STAGE,
        *(passages(READER, **{"length": 8, "stride": 3, **other}) for other in ({"length": 9}, {"stride": 4}, {"take": "mean"})),
        *(passages(READER, length=8, stride=3, take="kmax", k=k) for k in (1, 2)),
        passages(READER, length=8, stride=3, title_field="title"),
        passages(READER, length=8, stride=3, text_field="body"),
        *(passages(READER, length=8, stride=3, first=Reader(seed=3), best=best) for best in (1, 2)),
        passages(READER, length=8, stride=3, first=Reader(seed=4), best=1),
        passages(Reader(seed=2), length=8, stride=3),
    ]
    assert len({repr(stage.identify()) for stage in made if stage.identify}) == len(made)
    assert len({fingerprint(Cascade.of(stage)[0]) for stage in made}) == len(made)
    again = passages(Reader(), length=8, stride=3)
    assert (again, hash(again), again.identify and again.identify()) == (STAGE, hash(STAGE), STAGE.identify and STAGE.identify())
    assert pickle.loads(pickle.dumps(again)) == STAGE  # noqa: S301 - our own bytes
    assert not can_identify(passages(LENGTHS))
    assert passages(LENGTHS).count_tokens is None
    assert passages(LENGTHS).depends == "unknown"


def test_pyterrier_inspects_it() -> None:
    """Columns in and out, the stages within, and a schematic without the network; empty frames too."""
    stage = passages(READER, title_field="title", first=Reader(seed=2), best=1)
    assert pt.inspect.transformer_inputs(stage) == [["qid", "docno", "query", "text", "title"]]
    columns = ["qid", "query", "docno", "text", "title", "url"]
    assert {*pt.inspect.transformer_outputs(stage, columns)} == {*columns, "score", "rank"}
    assert pt.inspect.subtransformers(stage) == {"stage": READER, "first": Reader(seed=2)}
    drawn = pt.schematic.draw(stage, input_columns=columns, outer_class="p")
    assert [drawn.count(f'title">{name}<') for name in ("Passages", "Reader")] == [1, 2]
    qrels = pd.DataFrame({"qid": ["q0"], "docno": ["d1"], "label": [1]})
    shown = pt.Experiment([PIPELINE, HAND], topics(3), qrels, ["map"], plan="tree", verbose=False)
    assert shown["map"][0] == shown["map"][1]


# --- what fails


@dataclass(frozen=True)
class Failing(Reader):
    """Cannot score passages with the word w9, and counts its calls."""

    failed_column = "failed"
    on_error = "keep"
    accounts = ("calls",)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score, and put what failed below the rest."""
        found = super().transform(inp)
        failed = inp["text"].str.split().map(lambda words: "w9" in words).astype(bool)
        calls = inp.groupby("qid")["docno"].transform("size") if len(inp) else 0
        below = found["score"].where(~failed, -1.0 - np.arange(len(found)))
        return pt.model.add_ranks(found.assign(score=below.astype(float), failed=failed, calls=calls))


@pytest.mark.parametrize("outside", [False, True])
def test_a_document_fails_where_a_passage_fails(outside: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """It is marked, ranks below the others in its earlier order, and is listed by ``score``; calls are counted by query."""
    stage: pt.Transformer = passages(Failing(), length=8, stride=3)
    stage = ptc.stages.cached(stage, tmp_path / "scores") if outside else stage
    found = Tell().transform(FIRST.transform(topics(3)))
    ranked = stage.transform(found)
    whole = ranked["text"].str.split().str.len()
    assert (ranked["failed"] == (whole >= 11)).all()  # windows end at word 8, 11, 14, ...; w9 is the tenth
    assert ranked["failed"].any()
    lost = ranked[ranked["failed"]].sort_values(["qid", "rank"])
    assert lost["docno"].tolist() == found[found["docno"].isin(lost["docno"])].sort_values(["qid", "rank"])["docno"].tolist()
    lowest = ranked[~ranked["failed"]].groupby("qid")["rank"].max()
    assert (lost["rank"] > lost["qid"].map(lowest)).all()
    trace = ptc.run(Cascade.of(FIRST >> Tell() >> passages(Failing(), length=8, stride=3)), topics(3)).trace
    assert trace[trace["stage"] == "reader"]["calls"].tolist() == trace[trace["stage"] == "reader"]["pairs"].tolist()
    with pytest.warns(ptc.errors.CascadeWarning, match="stage 'reader' failed"):
        table = ptc.score(FIRST >> Tell() >> stage, topics(3))
    assert {*table.failed["docno"]} == {*lost["docno"]}


class Spoiled(Reader):
    """Gives back one passage less."""

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Re-rank."""
        return pt.model.add_ranks(super().transform(inp).iloc[1:].copy())


class Named(Reranker):
    """Reads no text, as stages over stored vectors do."""

    stage_name = "named"

    def needs(self) -> list[str]:
        """Name the columns."""
        return ["query"]

    def score(self, results: pd.DataFrame) -> np.ndarray:
        """Score by nothing."""
        return np.zeros(len(results))


GIVEN = frame(TALES)
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "length": (lambda: passages(READER, length=0), "length is 0, expected a whole number of words, 1 or more"),
    "length in text": (lambda: passages(READER, length="9"), "length is '9', expected a whole number"),  # type: ignore[arg-type]
    "stride": (lambda: passages(READER, length=5, stride=6), "stride is 6, expected 1 to the length, 5: a larger one skips words"),
    "no stride": (lambda: passages(READER, length=5, stride=0), "stride is 0, expected 1 to the length, 5"),
    "take": (lambda: passages(READER, take="men"), "take is 'men', expected one of max, first, mean, kmax; did you mean 'mean'?"),  # type: ignore[arg-type]
    "no k": (lambda: passages(READER, take="kmax"), "k is None with take='kmax', expected 1 or more with 'kmax', else None"),
    "k": (lambda: passages(READER, k=3), "k is 3 with take='max', expected 1 or more with 'kmax', else None"),
    "best": (lambda: passages(READER, best=3), "first is None and best 3, expected a re-ranker and 1 or more, or both None"),
    "no best": (lambda: passages(READER, first=READER, best=0), "and best 0, expected a re-ranker and 1 or more, or both None"),
    "two firsts": (
        lambda: passages(READER, first=READER, best=1, take="first"),
        "first picks passages, but take='first' reads the first passage only",
    ),
    "no stage": (lambda: passages("reader"), "stage is 'reader' (str), expected a re-ranker"),  # type: ignore[arg-type]
    "retriever": (lambda: passages(FIRST), "stage holds toy, which retrieves, or may add or remove documents, expected"),
    "cut-off": (lambda: passages(READER % 3), "stage holds rank_cutoff, which retrieves, or may add or remove documents"),
    "pairwise": (lambda: passages(ptc.stages.duo_t5("org/t5")), "stage holds duo_t5, which is pairwise: it scores a passage by"),
    "listwise": (
        lambda: passages(READER, first=ptc.stages.llm_judge("m", how="listwise"), best=1),
        "first holds llm_judge, which is listwise: it scores a passage by the others, expected a pointwise stage",
    ),
    "nested": (lambda: passages(2 * STAGE), "stage holds reader, which reads passages already, expected the stage itself"),
    "vectors": (
        lambda: passages(Named()),
        "stage is named, which reads query, expected text, as late_interaction(model) reads",
    ),
    "failing first": (
        lambda: passages(READER, first=Failing(), best=1),
        "first is reader, which may fail on a passage, expected one that scores each",
    ),
    "no text": (lambda: STAGE.transform(GIVEN.drop(columns="text")), "stage 'reader' cannot run: it needs column text; its"),
    "lost text": (lambda: STAGE.transform(GIVEN.assign(text=None)), "stage 'reader' cannot read its documents: text is missing"),
    "marked": (
        lambda: STAGE.transform(GIVEN.assign(docno=GIVEN["docno"] + "%p0")),
        "stage 'reader' cannot cut its documents into passages: a docno holds '%p', as that of a passage does in 8 of 8 rows",
    ),
    "lost passage": (
        lambda: passages(Spoiled()).transform(GIVEN),
        "stage 'reader' did not return the passages of its input: documents removed in 1 of 8 rows",
    ),
    "no number": (
        lambda: passages(pt.apply.doc_score(lambda _: float("inf"))).transform(GIVEN),
        "stage 'doc_score' returned results that are not usable: score is not a finite number",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_an_error(case: str) -> None:
    """It names the stage, what was found and what was expected."""
    call, said = WRONG[case]
    with pytest.raises(CascadeError) as error:
        call()
    assert said in str(error.value)


def test_all_problems_are_told_at_once_with_a_line_that_works() -> None:
    """The cure is executed; so are those of a stage that cannot run."""
    with pytest.raises(PipelineError) as error:
        passages(FIRST, length=0, take="all", best=2)  # type: ignore[arg-type]
    assert len(error.value.problems) == 4
    made = eval(error.value.fix, {"passages": passages, "cross_encoder": ptc.stages.cross_encoder})  # noqa: S307
    assert made.needs() == ["query", "text"]
    with pytest.raises(CascadeError) as error:
        STAGE.transform(marked := GIVEN.assign(docno=GIVEN["docno"] + "%p0"))
    assert len(STAGE.transform(eval(error.value.fix, {"results": marked}))) == len(GIVEN)  # noqa: S307


def test_a_wrong_count_of_pairs_is_refused() -> None:
    """By the run that needs it."""
    reader = Reader()
    reader.__dict__["count_pairs"] = lambda frame: [1] * (len(frame) - 1)
    with pytest.raises(StageError, match=r"the pairs of stage 'reader' cannot be counted: count_pairs of .* gave shape \(\d+,\)"):
        ptc.run(FIRST % 9 >> Tell() >> reader, topics(3))
