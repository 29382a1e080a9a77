"""A cached LLM judge: failed documents are asked again, and the accounts say what this call used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.llm_servers import Call, Reply, ScriptedServer, chat, scripted

from pt_cascade import run
from pt_cascade.stages.cached import cached
from pt_cascade.stages.llm.stage import LlmJudge
from pt_cascade.stages.llm.usage import ACCOUNTS
from pt_cascade.stages.llm_judge import llm_judge
from pt_cascade.stages.scorecache.fill import Usage

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A scripted server."""
    with scripted() as server:
        yield server


def judge(server: ScriptedServer, **options: object) -> LlmJudge:
    """A stage with prices and no retries, which marks documents without a judgment."""
    given = {"base_url": server.url, "api_key_env": None, "retries": 0, "prices": (1.0, 2.0), "concurrency": 1}
    return llm_judge("toy", **{**given, "on_error": "keep", **options})


def frame(queries: int = 2, docs: int = 3) -> pd.DataFrame:
    """Results in order of rank, each with its own text."""
    rows = [(f"q{q}", f"query {q}", f"d{d}", f"text {q} {d}", d, -float(d)) for q in range(queries) for d in range(docs)]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "text", "rank", "score"])


BAD = {
    "unread": chat("no idea"),
    "refused": chat(None, refusal="I will not"),
    "refused in parts": chat([{"type": "refusal", "refusal": "no"}]),
    "filtered": Reply(400, b'{"error": {"code": "content_filter"}}'),
    "cut off": chat("I say: 3", finish="length"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_document_without_a_judgment_is_not_stored(server: ScriptedServer, tmp_path: Path, case: str) -> None:
    """Of six documents one is marked and not stored; the next call asks only about this one."""
    kept, results = cached(judge(server), tmp_path / "s", batch_size=2), frame()
    server.do(lambda call: BAD[case] if "text 0 1" in call.prompt else chat("2"))
    out = kept.transform(results)
    assert out["llm_failed"].tolist() == [False, True, False, False, False, False]
    assert out["score"].tolist() == [2.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert out["rank"].tolist() == [0, 2, 1, 0, 1, 2]
    assert kept.score_cache().count() == 5
    server.do(lambda _: chat("1"))
    out = kept.transform(results)
    assert [call.prompt.split("Document: ")[1].split("\n")[0] for call in server.calls] == ["text 0 1"]
    assert out["score"].tolist() == [2.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert not out["llm_failed"].any()
    assert kept.score_cache().count() == 6


def test_a_list_with_an_unread_window_is_not_stored(server: ScriptedServer, tmp_path: Path) -> None:
    """None of its scores is stored; those of the other query are."""
    kept = cached(judge(server, how="listwise"), tmp_path / "s")
    server.do(lambda call: chat("sorry" if "query 0" in call.prompt else "[3] > [2] > [1]"))
    out = kept.transform(frame())
    assert out["llm_failed"].tolist() == [True] * 3 + [False] * 3
    assert kept.score_cache().count() == 3


def test_a_malformed_answer_that_was_read_is_stored(server: ScriptedServer, tmp_path: Path) -> None:
    """A repaired answer is a judgment."""
    kept = cached(judge(server), tmp_path / "s")
    server.do(lambda _: chat("Grade: 2"))
    kept.transform(frame())
    assert kept.score_cache().count() == 6


def test_a_cut_yes_with_log_probabilities_is_stored(server: ScriptedServer, tmp_path: Path) -> None:
    """With max_tokens=1 every answer is cut off: no document is asked about twice."""
    kept = cached(judge(server, how="yes_no", max_tokens=1), tmp_path / "s")
    server.do(lambda _: chat("Yes", finish="length", places=[{"Yes": -0.5, "No": -1.0}]))
    for _ in range(2):
        assert kept.transform(frame())["score"].tolist() == [0.5] * 6
    assert (kept.score_cache().count(), len(server.calls)) == (6, 6)


def test_the_columns_count_the_calls_of_this_call(server: ScriptedServer, tmp_path: Path) -> None:
    """Golden by hand, in batches of 2: sums of all calls, then of the new ones, then zeros of the same types."""
    kept, results = cached(judge(server), tmp_path / "s", batch_size=2), frame()
    server.do(lambda _: chat("2", usage=(1000, 1)))
    half, whole, again = (kept.transform(some) for some in (results.head(4), results, results))
    columns = ["llm_calls", "llm_tokens_in", "llm_usd"]
    assert half.drop_duplicates("qid")[columns].to_numpy().tolist() == [
        [3, 3000, pytest.approx(3006e-6)],
        [1, 1000, pytest.approx(1002e-6)],
    ]
    assert whole.drop_duplicates("qid")[columns].to_numpy().tolist() == [[0, 0, 0], [2, 2000, pytest.approx(2004e-6)]]
    assert (again[list(ACCOUNTS)] == 0).all(axis=None)
    alone = judge(server).transform(results)
    assert again[list(ACCOUNTS)].dtypes.tolist() == alone[list(ACCOUNTS)].dtypes.tolist()
    assert set(again.columns) == set(alone.columns)
    assert len(server.calls) == 6 + len(results)


def test_tokens_that_the_server_does_not_count_are_nan(server: ScriptedServer, tmp_path: Path) -> None:
    """NaN in one batch is NaN in the sum."""
    kept = cached(judge(server), tmp_path / "s", batch_size=1)
    server.do(lambda call: chat("2", usage=None if call.number == 1 else (1000, 1)))
    out = kept.transform(frame()).drop_duplicates("qid")
    assert np.isnan(out["llm_usd"].iloc[0])
    assert out["llm_tokens_in"].iloc[1] == 3000


def test_the_trace_of_a_cached_judge_counts_its_calls(server: ScriptedServer, tmp_path: Path) -> None:
    """In a cascade: the first run has the tokens and dollars of the judge, the second run zeros."""
    results = frame()
    pipeline = pt.Transformer.from_df(results) % 3 >> cached(judge(server), tmp_path / "s") % 2
    server.do(lambda _: chat("2", usage=(1000, 1)))
    for spent in (6000, 0):
        trace = run(pipeline, results[["qid", "query"]].drop_duplicates()).trace
        own = trace[trace["stage"] == "llm_judge"]
        assert own["llm_tokens_in"].sum() == spent
        assert own["llm_usd"].sum() == pytest.approx(spent * 1.002e-6)


def test_inspection_and_no_rows_show_all_columns(server: ScriptedServer, tmp_path: Path) -> None:
    """The columns are those of the judge; no file is written, no call is made."""
    server.do(lambda _: chat("2"))
    inner = judge(server)
    kept = cached(inner, tmp_path / "s")
    columns = ["qid", "query", "docno", "text", "rank", "score"]
    assert set(pt.inspect.transformer_outputs(kept, columns)) == set(pt.inspect.transformer_outputs(inner, columns))
    pd.testing.assert_frame_equal(kept.transform(frame().head(0)), inner.transform(frame().head(0)))
    assert (kept.accounts, kept.failed_column, kept.on_error, server.calls, [*tmp_path.iterdir()]) == (
        ACCOUNTS,
        "llm_failed",
        "keep",
        [],
        [],
    )


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=6), max_size=4))
def test_counts_add_up_over_batches(parts: list[list[tuple[str, int]]]) -> None:
    """A reference that adds one by one: the counts of a query stand on each of its rows, and count once a batch."""
    given_frame = pd.DataFrame({"qid": ["a", "b", "a", "c"], "docno": list("wxyz")})
    stage = pt.apply.generic(lambda df: df.assign(calls=1.5, bad=True))
    stage.accounts = ("calls", "bad", "absent")
    spent, wanted, bad = Usage(stage, given_frame), dict.fromkeys("abc", 0.0), dict.fromkeys("abc", False)
    for part in parts:
        told = dict(part)
        rows = [(qid, told[qid]) for qid, _ in part]
        spent.add(pd.DataFrame(rows, columns=["qid", "calls"]).assign(bad=lambda df: df["calls"] > 4))
        for qid, calls in told.items():
            wanted[qid] += calls
            bad[qid] |= calls > 4
    made = spent.columns(given_frame)
    assert list(made) == ["calls", "bad"]
    assert made["calls"].tolist() == [wanted[qid] for qid in "abac"]
    assert made["bad"].tolist() == [bad[qid] for qid in "abac"]


def test_a_call_counts_on_the_query_that_asked(server: ScriptedServer, tmp_path: Path) -> None:
    """Two topics of one text share scores: the calls count on the first one."""

    def script(call: Call) -> Reply:
        return chat(call.prompt.split("Document: ")[1].split()[2])

    server.do(script)
    out = cached(judge(server), tmp_path / "s").transform(
        frame().assign(query="same", text=["text 0 1", "text 0 2", "text 0 3"] * 2)
    )
    assert out["score"].tolist() == [1.0, 2.0, 3.0] * 2
    assert out.drop_duplicates("qid")["llm_calls"].tolist() == [3, 0]
