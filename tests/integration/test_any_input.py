"""Hostile frames and files: a public function gives the right answer, or a CascadeError; nothing else."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ir_measures import RR, R, nDCG
from toys.rankers import ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade, CascadeError, ScoreTable, compare, fuse, open_collection, profile, run, score, sweep, trec
from pt_cascade.frames import canonical_qrels, canonical_results, canonical_topics

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
FUZZ = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
PIPELINE = ToyRetriever(docs=8) % 6 >> ToyReranker() % 3
TOPICS = topics(3)
RESULTS = ToyRetriever(docs=8).transform(TOPICS)
QRELS = pd.DataFrame({"qid": ["q0", "q0", "q1"], "docno": ["d0", "d1", "d0"], "label": [1, 0, 2]})
TABLE = score(PIPELINE, TOPICS)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        [
            *(pd.NA, pd.NaT, np.nan, np.inf, -np.inf, b"q0", ("q0",), ["q0"], {"q": 0}, Decimal("1.5"), 1 + 2j, object, len),
            *(
                "q0",
                "d0",
                "nan",
                "\x00",
                "\ud800",
                "a\tb",
                "a b",
                "\x1b[2J",
                " ",
                "\u0661",
                0.1 + 0.2,
                2**63,
                2**70,
                -(2**63),
                np.int8(3),
            ),
            *(np.float32(0.1), np.datetime64("2026-01-01"), pd.Timestamp("2026-01-01"), pd.Timedelta("1s"), np.array([1, 2])),
        ]
    ),
)
DTYPES = ["category", "string", "Int64", "float16", "float32", "int8", "uint64", "bool", "complex128", "datetime64[ns]", "object"]


def replace_cell(draw: st.DrawFn, frame: pd.DataFrame) -> object:
    """One cell is something else."""
    column, row = draw(st.sampled_from(list(frame))), draw(st.integers(0, len(frame) - 1))
    values = list(frame[column])
    values[row] = draw(VALUES)
    return frame.assign(**{column: pd.Series(values, dtype=object, index=frame.index)})


def replace_column(draw: st.DrawFn, frame: pd.DataFrame) -> object:
    """A column is all something else."""
    column, value = draw(st.sampled_from(list(frame))), draw(VALUES)
    return frame.assign(**{column: pd.Series([value] * len(frame), dtype=object, index=frame.index)})


def cast_column(draw: st.DrawFn, frame: pd.DataFrame) -> object:
    """A column has another type, where it can have it."""
    column, kind = draw(st.sampled_from(list(frame))), draw(st.sampled_from(DTYPES))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return frame.astype({column: kind})
    except (TypeError, ValueError, OverflowError):
        return frame


SHAPES: list[Callable[[pd.DataFrame], object]] = [
    lambda frame: frame.iloc[:0],
    lambda frame: pd.concat([frame, frame]),
    lambda frame: pd.concat([frame, frame.iloc[:, :1]], axis=1),
    lambda frame: frame.set_index("qid"),
    lambda frame: frame.set_index(pd.MultiIndex.from_arrays([[0] * len(frame), [1] * len(frame)])),
    lambda frame: frame.set_axis(pd.MultiIndex.from_product([["a"], list(frame)]), axis=1),
    lambda frame: frame.set_axis(range(frame.shape[1]), axis=1),
    lambda frame: frame.sample(frac=1, random_state=0),
    lambda frame: frame.iloc[[0] * len(frame)],
    lambda frame: frame.T,
    lambda frame: frame.to_dict("records"),
    lambda frame: frame.iloc[:, 0],
    lambda frame: frame.assign(**{"": 1, "extra": [[1]] * len(frame)}),
    lambda frame: frame.rename(columns=str.upper),
    lambda _: None,
    lambda _: "topics.tsv",
    lambda _: pd.DataFrame(),
]


@st.composite
def spoiled(draw: st.DrawFn, frame: pd.DataFrame) -> object:
    """A good frame with something wrong, or merely unusual, about it."""
    way = draw(st.sampled_from([replace_cell, replace_column, cast_column, None]))
    return draw(st.sampled_from(SHAPES))(frame) if way is None else way(draw, frame)


def text_rows(frame: pd.DataFrame, columns: list[str]) -> list[tuple[object, ...]]:
    """The rows of a frame that was accepted, ids as text."""
    return [
        tuple(str(value) if name != "score" else float(value) for name, value in zip(columns, row, strict=True))
        for row in frame[columns].to_numpy(object)
    ]


@FUZZ
@given(spoiled(TOPICS))
def test_topics(asked: object) -> None:
    """What is accepted is ranked as plain PyTerrier ranks the same topics with text ids."""
    try:
        ranked = run(PIPELINE, asked).results  # type: ignore[arg-type]
    except CascadeError:
        return
    plain = PIPELINE.transform(asked.astype({"qid": str}))  # type: ignore[attr-defined]
    columns = ["qid", "docno", "score", "rank"]
    assert sorted(text_rows(ranked, columns)) == sorted(text_rows(plain, columns))


def is_accepted(call: Callable[[pt.Transformer, object], object], asked: object) -> bool:
    """Tell whether a function takes these topics."""
    try:
        call(PIPELINE, asked)
    except CascadeError:
        return False
    return True


@FUZZ
@given(spoiled(TOPICS), st.sampled_from([score, profile, lambda cascade, asked: Cascade.of(cascade).transform(asked)]))
def test_topics_elsewhere(asked: object, call: Callable[[pt.Transformer, object], object]) -> None:
    """Every function that takes topics accepts what ``run`` accepts, and refuses what it refuses."""
    assert is_accepted(run, asked) == is_accepted(call, asked) or len(asked) == 0  # type: ignore[arg-type] # which run answers by nothing


@FUZZ
@given(spoiled(RESULTS))
def test_results(found: object) -> None:
    """What is accepted has the scores that it had, as float64, and is re-ranked, written, read and fused without loss."""
    try:
        checked = canonical_results(found)  # type: ignore[arg-type]
    except CascadeError:
        return
    assert [float(value) for value in found["score"]] == checked["score"].tolist()  # type: ignore[index]
    with suppress(CascadeError):
        table = ScoreTable.from_runs({"one": found, "two": found})  # type: ignore[dict-item]
        pd.testing.assert_series_equal(table.frame["one"], table.frame["two"], check_names=False)
        assert sorted(fuse([found])["docno"]) == sorted(checked["docno"])  # type: ignore[list-item]


@FUZZ
@given(spoiled(QRELS))
def test_qrels(labels: object) -> None:
    """What is accepted is measured as ir_measures measures the live pipeline's run with the same labels."""
    try:
        values = sweep(TABLE, labels, [nDCG @ 3, R @ 3, RR]).frame.iloc[-1]  # type: ignore[arg-type]
    except CascadeError:
        return
    given = canonical_qrels(labels)  # type: ignore[arg-type]
    if given["label"].abs().max() > 1000 or (given.groupby("qid")["label"].max() < 0).any():
        return  # on which pytrec_eval itself hangs or crashes
    judged = given.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
    judged = judged[judged["query_id"].isin(TOPICS["qid"])]
    ranked = PIPELINE.transform(TOPICS)[["qid", "docno", "score"]].rename(columns={"qid": "query_id", "docno": "doc_id"})
    golden = ir_measures.calc_aggregate([nDCG @ 3, R @ 3, RR], judged, ranked)
    assert {str(measure): pytest.approx(values[str(measure)], abs=1e-12) for measure in golden} == {
        str(m): v for m, v in golden.items()
    }


@FUZZ
@given(spoiled(QRELS), spoiled(TOPICS))
def test_comparisons(labels: object, asked: object) -> None:
    """An ablation is made, or refused."""
    with suppress(CascadeError):
        assert len(compare(PIPELINE, asked, labels, [RR]).effectiveness)  # type: ignore[arg-type]


TOKENS = st.sampled_from(
    [
        "q0",
        "Q0",
        "d0",
        "0",
        "1",
        "-1",
        "1.5",
        "nan",
        "inf",
        "1e400",
        "0x1",
        "9" * 30,
        "٣",
        "\ufeff",
        "\x00",
        "\u2028",
        "\x85",
        "é",
        '"',
        "{",
        "]",
    ]
)
GAPS = st.sampled_from([" ", "\t", "  ", "\n", "\r\n", "\r", "\x0b", "\x0c", "", "\u00a0"])
CONTENTS = st.one_of(
    st.lists(st.tuples(TOKENS, GAPS), max_size=40).map(
        lambda parts: "".join(token + gap for token, gap in parts).encode(errors="replace")
    ),
    st.binary(max_size=60),
    st.binary(max_size=60).map(gzip.compress),
    st.binary(max_size=30).map(lambda data: gzip.compress(b"1 Q0 d 1 0.5 t\n" * 9)[:-9] + data),
)


@FUZZ
@given(CONTENTS, st.sampled_from([trec.read_run, trec.read_qrels, trec.read_topics]))
def test_trec_files(tmp_path: Path, data: bytes, read: Callable[[Path], pd.DataFrame]) -> None:
    """What is read can be checked again, and says the same."""
    file = tmp_path / "file"
    file.write_bytes(data)
    try:
        frame = read(file)
    except CascadeError:
        return
    check = {trec.read_run: canonical_results, trec.read_qrels: canonical_qrels, trec.read_topics: canonical_topics}[read]
    pd.testing.assert_frame_equal(check(frame), frame)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=4),
    lambda part: st.lists(part, max_size=2) | st.dictionaries(st.text(max_size=3), part, max_size=2),
)
LINES = st.one_of(
    st.fixed_dictionaries({"docno": st.one_of(st.text(max_size=3), JSON), "text": st.one_of(st.text(max_size=5), JSON)}).map(
        json.dumps
    ),
    JSON.map(json.dumps),
    st.text(max_size=8),
)


@FUZZ
@given(st.lists(LINES, max_size=4), CONTENTS, CONTENTS)
def test_collections(tmp_path_factory: pytest.TempPathFactory, lines: list[str], asked: bytes, labels: bytes) -> None:
    """A folder of documents, topics and judgments is read, each document as it stands there, or refused."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "docs.jsonl").write_bytes("\n".join(lines).encode(errors="surrogatepass"))
    (folder / "topics.tsv").write_bytes(asked)
    (folder / "qrels.txt").write_bytes(labels)
    try:
        collection = open_collection(folder)
        docs = list(collection.docs())
        _ = collection.topics, collection.qrels
    except CascadeError:
        return
    assert [doc["docno"] for doc in docs] == [json.loads(line)["docno"] for line in "\n".join(lines).splitlines() if line.strip()]
