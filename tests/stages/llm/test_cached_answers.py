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
from pt_cascade.stages.scorecache.usage import Usage

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A server that does as it is told."""
    with scripted() as server:
        yield server


def judge(server: ScriptedServer, **options: object) -> LlmJudge:
    """A stage with prices, that asks once, and goes on where there is no judgment."""
    given = {"base_url": server.url, "api_key_env": None, "retries": 0, "prices": (1.0, 2.0), "concurrency": 1}
    return llm_judge("toy", **{**given, "on_error": "keep", **options})


def frame(queries: int = 2, docs: int = 3) -> pd.DataFrame:
    """Results in the order of their ranks, each text its own."""
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
def test_what_is_no_answer_is_given_but_not_kept(server: ScriptedServer, tmp_path: Path, case: str) -> None:
    """One of six documents: marked in its row alone, the other five are kept, and the next call asks for that one again."""
    kept, results = cached(judge(server), tmp_path / "s", batch_size=2), frame()
    server.do(lambda call: BAD[case] if "text 0 1" in call.prompt else chat("2"))
    out = kept.transform(results)
    assert out["llm_failed"].tolist() == [False, True, False, False, False, False]
    assert out["score"].tolist() == [2.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert out["rank"].tolist() == [0, 2, 1, 0, 1, 2]
    assert kept.store().count() == 5
    server.do(lambda _: chat("1"))
    out = kept.transform(results)
    assert [call.prompt.split("Document: ")[1].split("\n")[0] for call in server.calls] == ["text 0 1"]
    assert out["score"].tolist() == [2.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert not out["llm_failed"].any()
    assert kept.store().count() == 6


def test_a_list_with_a_bad_answer_is_not_kept(server: ScriptedServer, tmp_path: Path) -> None:
    """Not one of its scores; the list beside it is."""
    kept = cached(judge(server, how="listwise"), tmp_path / "s")
    server.do(lambda call: chat("sorry" if "query 0" in call.prompt else "[3] > [2] > [1]"))
    out = kept.transform(frame())
    assert out["llm_failed"].tolist() == [True] * 3 + [False] * 3
    assert kept.store().count() == 3


def test_a_malformed_answer_that_was_read_is_kept(server: ScriptedServer, tmp_path: Path) -> None:
    """A repaired form is an answer."""
    kept = cached(judge(server), tmp_path / "s")
    server.do(lambda _: chat("Grade: 2"))
    kept.transform(frame())
    assert kept.store().count() == 6


def test_a_yes_with_its_log_odds_is_kept_though_it_was_cut_off(server: ScriptedServer, tmp_path: Path) -> None:
    """With max_tokens=1 every answer ends by its length: none is asked for again."""
    kept = cached(judge(server, how="yes_no", max_tokens=1), tmp_path / "s")
    server.do(lambda _: chat("Yes", finish="length", places=[{"Yes": -0.5, "No": -1.0}]))
    for _ in range(2):
        assert kept.transform(frame())["score"].tolist() == [0.5] * 6
    assert (kept.store().count(), len(server.calls)) == (6, 6)


def test_the_accounts_say_what_was_asked_in_this_call(server: ScriptedServer, tmp_path: Path) -> None:
    """Golden by hand, in micro-batches of 2: all of it, summed; then what is new; then 0 of everything, with the same types."""
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


def test_tokens_that_nobody_counted_stay_unknown(server: ScriptedServer, tmp_path: Path) -> None:
    """NaN in one micro-batch is NaN in the sum."""
    kept = cached(judge(server), tmp_path / "s", batch_size=1)
    server.do(lambda call: chat("2", usage=None if call.number == 1 else (1000, 1)))
    out = kept.transform(frame()).drop_duplicates("qid")
    assert np.isnan(out["llm_usd"].iloc[0])
    assert out["llm_tokens_in"].iloc[1] == 3000


def test_the_trace_of_a_kept_judge_is_not_silent(server: ScriptedServer, tmp_path: Path) -> None:
    """In a cascade: the first run has the tokens and dollars of the judge, the second one none."""
    results = frame()
    pipeline = pt.Transformer.from_df(results) % 3 >> cached(judge(server), tmp_path / "s") % 2
    server.do(lambda _: chat("2", usage=(1000, 1)))
    for spent in (6000, 0):
        trace = run(pipeline, results[["qid", "query"]].drop_duplicates()).trace
        own = trace[trace["stage"] == "llm_judge"]
        assert own["llm_tokens_in"].sum() == spent
        assert own["llm_usd"].sum() == pytest.approx(spent * 1.002e-6)


def test_inspection_and_no_rows_show_all_columns(server: ScriptedServer, tmp_path: Path) -> None:
    """As the judge's own; no file is made, no call is made."""
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
def test_accounts_add_up_over_the_parts(parts: list[list[tuple[str, int]]]) -> None:
    """An oracle that adds them one by one: a query's account stands on each of its rows of a part, and counts once a part."""
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
    """Two topics of one text share scores: one account has the calls, the other 0."""

    def script(call: Call) -> Reply:
        return chat(call.prompt.split("Document: ")[1].split()[2])

    server.do(script)
    out = cached(judge(server), tmp_path / "s").transform(
        frame().assign(query="same", text=["text 0 1", "text 0 2", "text 0 3"] * 2)
    )
    assert out["score"].tolist() == [1.0, 2.0, 3.0] * 2
    assert out.drop_duplicates("qid")["llm_calls"].tolist() == [3, 0]
