"""A judge against a server with faults: no answer is lost, no call is wasted, and documents without a judgment are marked."""

from __future__ import annotations

import asyncio
import logging
import pickle
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys.llm_servers import DROP, FAULTS, STALL, STORM, Call, Reply, ScriptedServer, chat, failure, scripted

from pt_cascade.errors import CascadeWarning, MissingError, StageError
from pt_cascade.stages.base.identity import identify
from pt_cascade.stages.llm.client import ServerState
from pt_cascade.stages.llm.judgments import run_jobs
from pt_cascade.stages.llm.stage import LlmJudge
from pt_cascade.stages.llm_judge import llm_judge

KEY = "sk-secret0123456789"
QUIET = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")


class FakeTime:
    """A clock that advances only when a call waits, and records the waits."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A scripted server."""
    with scripted() as server:
        yield server


def judge(server: ScriptedServer, *, experienced: bool = False, fake: FakeTime | None = None, **options: object) -> LlmJudge:
    """A stage with a fake clock that marks documents without a judgment; an experienced one has had an answer before."""
    fake = fake or FakeTime()
    stage = llm_judge("toy", **{"base_url": server.url, "api_key_env": None, "on_error": "keep", **options})

    state = ServerState(asked=experienced, answered=experienced, useful=experienced, sleep=fake.sleep, now=lambda: fake.now)
    stage.__dict__["_state"] = state
    return stage


def frame(queries: int = 1, docs: int = 3) -> pd.DataFrame:
    """Results in which the last row has rank 0, each with its own text."""
    rows = [(f"q{q}", f"query {q}", f"d{d}", f"text {q} {d}", docs - 1 - d) for q in range(queries) for d in range(docs)]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "text", "rank"])


def by_number(call: Call) -> Reply:
    """Grade a document by the number at the end of its text."""
    return chat(str(int(_text_of(call).split()[-1]) % 4))


def _text_of(call: Call) -> str:
    return call.prompt.split("Document: ")[1].split("\n")[0]


def _order(out: pd.DataFrame, qid: str = "q0") -> list[str]:
    return out[out["qid"] == qid].sort_values("rank")["docno"].tolist()


EMPTY = ("page", "garbage", "empty")  # what the package takes for an answer


def _survives(faults: list[str], retries: int) -> bool:
    """Tell by hand whether a document gets an answer: so many faults in a row, and so many empty responses, are retried."""
    row = empty = 0
    for fault in faults:
        row = 0 if fault in EMPTY else row + 1
        empty += fault in EMPTY
        if row > retries and fault == "storm":
            row = 0  # a rate limit is waited out
        if row > retries or empty > retries:
            return False
    return True


@QUIET
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 3)), st.lists(st.sampled_from(sorted(FAULTS)), max_size=4)),
    concurrency=st.integers(1, 8),
    retries=st.integers(0, 3),
)
def test_no_fault_loses_an_answer_or_repeats_a_call(
    server: ScriptedServer, plan: dict[tuple[int, int], list[str]], concurrency: int, retries: int
) -> None:
    """For any faults at any documents: documents with an answer are scored, the others follow in input order.

    Each of them is answered once, calls and retries add up to those that the server saw, and at most ``concurrency`` run at once.
    """
    left = {f"text {q} {d}": [FAULTS[name] for name in reversed(faults)] for (q, d), faults in plan.items()}
    answered: Counter[str] = Counter()

    def script(call: Call) -> Reply:
        text = _text_of(call)
        with server.lock:
            if left.get(text):
                return left[text].pop()
            answered[text] += 1
        return by_number(call)

    server.do(script)
    given = frame(3, 4)
    out = judge(server, concurrency=concurrency, retries=retries).transform(given)
    assert out[["qid", "docno", "text"]].equals(given[["qid", "docno", "text"]])
    for q, (qid, rows) in enumerate(out.groupby("qid")):
        good = [d for d in range(4) if _survives(plan.get((q, d), []), retries)]
        bad = [d for d in reversed(range(4)) if d not in good]
        assert rows["llm_failed"].tolist() == [d in bad for d in range(4)]
        assert _order(out, str(qid)) == [f"d{d}" for d in (*reversed(good), *bad)]
        lowest = min(good, default=0)
        expected = {**{d: float(d) for d in good}, **{d: float(lowest - 1 - n) for n, d in enumerate(bad)}}
        assert rows["score"].tolist() == [expected[d] for d in range(4)]
        assert {answered[f"text {q} {d}"] for d in good} <= {1}
    one = out.drop_duplicates("qid")
    assert one["llm_calls"].sum() + one["llm_retries"].sum() == len(server.calls)
    assert one["llm_failures"].tolist() == out.groupby("qid")["llm_failed"].sum().tolist()
    assert server.most <= concurrency


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_retried(server: ScriptedServer, fault: str) -> None:
    """After two faults the answer counts, and the columns count two retries."""
    server.do(lambda call: FAULTS[fault] if call.number < 2 else chat("2"))
    out = judge(server, on_error="raise").transform(frame(docs=1))
    assert out.loc[0, ["score", "llm_calls", "llm_retries", "llm_failed"]].tolist() == [2.0, 1, 2, False]
    assert len(server.calls) == 3


def test_a_stalled_call_times_out(server: ScriptedServer) -> None:
    """A call without a response in time is retried; after all retries its tokens are NaN."""
    server.do(lambda call: STALL if call.number == 0 else chat("2"))
    begun = time.monotonic()
    out = judge(server, timeout=0.2).transform(frame(docs=1))
    assert time.monotonic() - begun < 10
    assert out.loc[0, ["score", "llm_retries"]].tolist() == [2.0, 1]
    server.do(lambda _: STALL)
    with pytest.warns(CascadeWarning, match=r"qid 'q0', docno 'd0': no answer within 0.2 s"):
        out = judge(server, timeout=0.2, retries=0, prices=(1.0, 1.0)).transform(frame(docs=1))
    assert out[["llm_tokens_in", "llm_tokens_out", "llm_usd"]].isna().all(axis=None)


# rate limits


def test_a_rate_limit_without_retry_after_is_waited_out(server: ScriptedServer) -> None:
    """With 20 calls a minute and no Retry-After all 90 documents are judged, none twice."""
    fake, taken = FakeTime(), []

    def script(call: Call) -> Reply:
        with server.lock:
            recent = [when for when in taken if when > fake.now - 60]
            if len(recent) >= 20:
                return STORM
            taken.append(fake.now)
        return by_number(call)

    server.do(script)
    out = judge(server, fake=fake, on_error="raise", concurrency=4, retries=1).transform(frame(3, 30))
    assert out["score"].tolist() == [float(d % 4) for d in range(30)] * 3
    assert len(taken) == 90
    assert out.drop_duplicates("qid")["llm_retries"].sum() == len(server.calls) - 90
    assert sum(fake.waits) <= 4 * 4 * 75  # four waits for the limit, by at most four workers at once


def test_pauses_for_a_rate_limit_double_and_hold_all_calls(server: ScriptedServer) -> None:
    """Golden: 15, 30, 60, 60 seconds; the other calls wait as well, and all succeed."""
    fake, seen = FakeTime(), []

    def script(call: Call) -> Reply:
        seen.append(fake.now)
        return STORM if 1 <= call.number <= 4 else chat("2")

    server.do(script)
    out = judge(server, fake=fake, retries=0, concurrency=1).transform(frame(docs=4))
    assert fake.waits == [15, 30, 60, 60]
    assert seen == [0, 0, 15, 45, 105, 165, 165, 165]
    assert out["llm_retries"].unique().tolist() == [4]


def test_retry_after_is_honoured(server: ScriptedServer) -> None:
    """The package waits milliseconds itself; where the server asks for 100 seconds, calls are repeated until then."""
    fake = FakeTime()
    server.do(lambda call: failure(429, retry_after_ms="1") if call.number == 0 else chat("2"))
    assert judge(server, fake=fake).transform(frame(docs=1)).loc[0, ["score", "llm_retries"]].tolist() == [2.0, 1]
    assert fake.waits == []
    server.do(lambda _: failure(429, Retry_After="100") if fake.now < 100 else chat("2"))
    assert judge(server, fake=fake, retries=0).transform(frame(docs=1)).loc[0, "score"] == 2.0
    assert fake.waits == [15, 30, 60]


@pytest.mark.parametrize("on_error", ["raise", "keep"])
@pytest.mark.parametrize("reply", [STORM, failure(429, "come back tomorrow", Retry_After="86400")])
def test_a_rate_limit_that_does_not_end_is_an_error(server: ScriptedServer, reply: Reply, on_error: str) -> None:
    """The stage stops after ten minutes at most, also with on_error='keep'."""
    server.do(lambda call: reply if call.number else chat("2"))
    fake = FakeTime()
    with pytest.raises(StageError, match=r"429: (slow down|come back tomorrow)"):
        judge(server, fake=fake, retries=0, concurrency=1, on_error=on_error).transform(frame())
    assert sum(fake.waits) <= 600


def test_the_advice_for_a_rate_limit_works(server: ScriptedServer) -> None:
    """Later, the same stage succeeds; with concurrency=1, a server that refuses simultaneous calls answers each."""
    fake = FakeTime()
    server.do(lambda call: by_number(call) if fake.now > 1000 else STORM)
    stage = judge(server, fake=fake, retries=0, concurrency=1)
    with pytest.raises(StageError, match="429: slow down") as error:
        stage.transform(frame())
    assert error.value.fix == "call the stage again later, or llm_judge(..., concurrency=1), which sends one request at a time"
    fake.now = 2000
    assert stage.transform(frame())["score"].tolist() == [0.0, 1.0, 2.0]

    def refuse_two(call: Call) -> Reply:
        try:
            meeting.wait(0.2 if alone else 10)
        except threading.BrokenBarrierError:
            meeting.reset()
            return by_number(call)
        return STORM

    meeting, alone = threading.Barrier(2), False
    server.do(refuse_two)
    with pytest.raises(StageError, match="429: slow down"):
        judge(server, experienced=True, retries=0, concurrency=2).transform(frame(docs=2))
    meeting, alone = threading.Barrier(2), True
    assert judge(server, experienced=True, retries=0, concurrency=1).transform(frame(docs=2))["score"].tolist() == [0.0, 1.0]


# on_error


def test_the_first_failure_is_an_error(server: ScriptedServer) -> None:
    """It names the query, the document, the server's error, the lost answers and the cures; on_error='keep' works."""
    refuse = lambda call: failure(400, "context length exceeded") if "text 0 1" in call.prompt else by_number(call)  # noqa: E731
    server.do(refuse)
    with pytest.raises(StageError) as error:
        judge(server, on_error="raise", concurrency=1).transform(frame(docs=9))
    assert error.value.what == "llm_judge has no judgment of qid 'q0', docno 'd1'"
    assert error.value.problems == (
        "400: context length exceeded",
        "lost: 7 answers that this call of the stage received; "
        "cached(llm_judge(...), path, batch_size=32) stores them batch by batch",
    )
    assert error.value.fix == "llm_judge(..., on_error='keep') goes on, and marks what has no judgment"
    assert len(server.calls) == 8
    server.do(refuse)
    with pytest.warns(CascadeWarning) as told:
        out = judge(server, on_error="keep", concurrency=1).transform(frame(docs=9))
    assert str(told[0].message) == (
        "llm_judge: 1 judgment missing (qid 'q0', docno 'd1': 400: context length exceeded); see the columns llm_..."
    )
    assert out["llm_failed"].tolist() == [False, True] + [False] * 7
    assert out["llm_failures"].tolist() == [1] * 9
    assert _order(out) == ["d7", "d3", "d6", "d2", "d5", "d8", "d4", "d0", "d1"]  # grades 3 3 2 2 1 0 0 0, then none


def test_a_query_without_an_answer_keeps_its_order(server: ScriptedServer) -> None:
    """All documents of the first query fail, and all others are judged."""
    server.do(lambda call: failure(400, "context length exceeded") if "query 0" in call.prompt else by_number(call))
    with pytest.warns(CascadeWarning, match=r"^llm_judge: 50 judgments missing \(qid 'q0', docno 'd49'"):
        out = judge(server).transform(given := frame(3, 50))
    lost = out["qid"] == "q0"
    assert out["llm_failed"].equals(lost)
    assert out.loc[lost, "rank"].equals(given.loc[lost, "rank"])
    assert out.loc[lost, "score"].tolist() == [-float(rank + 1) for rank in given.loc[lost, "rank"]]
    assert out.loc[~lost, "score"].tolist() == [float(d % 4) for d in range(50)] * 2


def test_a_failed_window_leaves_its_query_in_input_order(server: ScriptedServer) -> None:
    """If the second of two windows fails, the query keeps its input order, and all its rows are marked."""
    server.do(lambda call: chat("[2] > [1] > [3]") if call.number == 0 else DROP)
    with pytest.warns(CascadeWarning, match="the connection failed"):
        out = judge(server, how="listwise", window=3, step=2, retries=1).transform(frame(1, 5))
    assert _order(out) == ["d4", "d3", "d2", "d1", "d0"]
    assert out.loc[0, ["llm_calls", "llm_retries", "llm_failures"]].tolist() == [2, 1, 1]
    assert out["llm_failed"].all()


def test_a_window_that_cannot_be_read_keeps_its_order(server: ScriptedServer) -> None:
    """By hand, 5 documents, window 3, step 2: the lower window stays, the upper one is reversed; the query is marked."""
    server.do(lambda call: chat("[3] > [2] > [1]" if call.number else "I cannot rank these."))
    with pytest.warns(CascadeWarning, match=r"1 judgment missing, 1 unread \(qid 'q0': its answer cannot"):
        out = judge(server, how="listwise", window=3, step=2).transform(frame(1, 5))
    assert _order(out) == ["d2", "d3", "d4", "d1", "d0"]
    assert out["score"].tolist() == [1 / 5, 1 / 4, 1, 1 / 2, 1 / 3]
    assert (out["llm_failed"].all(), out.loc[0, "llm_failures"]) == (True, 1)


CUT = chat("Okay, I have to grade this", finish="length")
USELESS = {
    "cut off": (
        CUT,
        r"its answer was cut off at max_tokens=16, too early to be read: 'Okay, I have",
        "max_tokens=1024",
    ),
    "cut off, by Gemini's name": (chat("Okay", finish="MAX_TOKENS"), "its answer was cut off at max_tokens=16", "max_tokens=1024"),
    "refused, by Anthropic's name": (chat("2", finish="refusal"), "the model refused: 2", "on_error='keep'"),
    "reasoning cut off": (chat("<think>Is it 2?", finish="length"), "cut off at max_tokens=16", "max_tokens=1024"),
    "reasoning apart": (
        chat(None, finish="length", message={"reasoning_content": "Is it 2?"}),
        "cut off at max_tokens=16, too early to be read: an empty text with reasoning_content",
        "max_tokens=1024",
    ),
    "reasoning without end": (chat("<think>Is it 2?"), "its answer cannot be read: '<think>Is it 2", "on_error='keep'"),
    "prose": (chat("Who knows"), "its answer cannot be read: 'Who knows'", "on_error='keep'"),
    "a refusal in words": (chat("I cannot grade this."), "its answer cannot be read: 'I cannot", "on_error='keep'"),
    "a refusal": (chat(None, refusal="I will not"), "the model refused: I will not", "on_error='keep'"),
    "a filter": (chat("2", finish="content_filter"), "the model refused: 2", "on_error='keep'"),
    "a tool": (
        chat(None, finish="tool_calls", message={"tool_calls": [{"id": "1", "type": "function"}]}),
        "its answer cannot be read: an empty text with tool_calls",
        "on_error='keep'",
    ),
    "nothing": (chat(""), "its answer cannot be read: an empty text", "on_error='keep'"),
    "half a prompt": (chat("2", usage=(64, 1)), r"the server read 64 tokens of a prompt of \d+ words", "--max-model-len"),
}


@pytest.mark.parametrize("case", USELESS)
def test_a_document_without_a_judgment_has_no_score(server: ScriptedServer, case: str) -> None:
    """An error that shows the answer and a cure; with on_error='keep' it is marked, counted, and ranked last."""
    reply, why, fix = USELESS[case]
    server.do(lambda call: reply if "text 0 2" in call.prompt else by_number(call))
    with pytest.raises(StageError, match=why) as error:
        judge(server, on_error="raise").transform(frame())
    assert "qid 'q0', docno 'd2'" in error.value.what
    assert fix in error.value.fix
    with pytest.warns(CascadeWarning, match=why):
        out = judge(server).transform(frame())
    assert out["llm_failed"].tolist() == [False, False, True]
    assert out["score"].tolist() == [0.0, 1.0, -1.0]
    assert out["llm_failures"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("queries", [1, 4])
def test_answers_that_are_all_cut_off_stop_early_and_name_max_tokens(server: ScriptedServer, queries: int) -> None:
    """Only 20 of 100 documents are asked about; the advised max_tokens works."""
    server.do(lambda call: CUT if call.body["max_tokens"] < 1024 else chat("Okay, I have to grade this. Score: 2"))
    given = frame(queries, 100 // queries)
    with pytest.raises(
        StageError, match="llm_judge received no answer that can be read: none of the first 20 gives a judgment"
    ) as error:
        judge(server, concurrency=1).transform(given)
    assert len(server.calls) == 20
    assert error.value.fix.startswith("llm_judge(..., max_tokens=1024)")
    with pytest.warns(CascadeWarning, match="100 malformed"):
        assert (judge(server, max_tokens=1024).transform(given)["score"] == 2.0).all()


def test_a_truncated_prompt_is_noticed(server: ScriptedServer) -> None:
    """The server counts 2,048 tokens of 6,000 words; the advised max_words works."""
    server.do(lambda call: chat("2", usage=(min(2048, len(call.prompt.split())), 1)))
    given = frame(4, 10).assign(text="word " * 6000)
    given["text"] += given["qid"] + given["docno"]
    stage = {"max_words": 6000, "concurrency": 1}
    with pytest.raises(StageError, match=r"the server read 2048 tokens of a prompt of 61\d\d words") as error:
        judge(server, on_error="raise", **stage).transform(given)
    assert "max_words" in error.value.fix
    with pytest.raises(StageError, match="none of the first 20 gives a judgment"):
        judge(server, **stage).transform(given.assign(docno=range(40), text=given["text"] + given["docno"]))
    assert (judge(server, max_words=1000).transform(given)["score"] == 2.0).all()


def test_a_prompt_without_spaces_has_more_tokens_than_words(server: ScriptedServer) -> None:
    """4,000 Chinese characters are one word, and at least 1,000 tokens."""
    server.do(lambda _: chat("2", usage=(900, 1)))
    with pytest.raises(StageError, match="the server read 900 tokens"):
        judge(server, max_words=4000, on_error="raise").transform(frame(docs=1).assign(text="\u71b1" * 4000))


def test_unread_answers_of_one_query_do_not_stop_the_others(server: ScriptedServer) -> None:
    """A model that refuses one query: 40 failures, and the next query is judged; 20 unread answers of many queries stop."""
    server.do(lambda call: chat("I cannot help with that.") if "query 0" in call.prompt else by_number(call))
    stage = judge(server)
    with pytest.warns(CascadeWarning, match="40 unread"):
        assert stage.transform(frame(1, 40))["llm_failed"].all()
    with pytest.warns(CascadeWarning, match="40 unread"):
        assert stage.transform(frame(2, 40))["llm_failed"].tolist() == [True] * 40 + [False] * 40
    server.do(lambda _: chat("I cannot help with that."))
    with pytest.raises(StageError, match=r"none of the first 20 gives .* its answer cannot be read: 'I cannot help"):
        judge(server, concurrency=1).transform(frame(40, 40))
    assert len(server.calls) == 20


# what ends all calls


def test_a_spent_quota_is_an_error(server: ScriptedServer) -> None:
    """429 with ``insufficient_quota`` is not retried."""
    body = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    server.do(lambda _: Reply(429, body))
    with pytest.raises(StageError, match="429: You exceeded your current quota"):
        judge(server, retries=0).transform(frame())
    assert len(server.calls) == 1


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_a_refusal_before_the_first_answer_is_an_error(server: ScriptedServer, code: int) -> None:
    """One call, whatever the concurrency; the error has the server's words and names the options to look at."""
    server.do(lambda _: failure(code, "no such model"))
    with pytest.raises(StageError) as error:
        judge(server).transform(frame(9, 9))
    fix = "check base_url, model, max_tokens, the key in the environment, and the fields of request"
    assert str(error.value) == f"llm_judge cannot call 'toy' at {server.url}: {code}: no such model. Fix: {fix}"
    assert len(server.calls) == 1


def test_an_unreachable_server_is_an_error() -> None:
    """One error with the address, after the retries."""
    with scripted() as gone:
        stage = judge(gone, retries=1)
    with pytest.raises(StageError, match=r"at http://127.0.0.1:\d+/v1: the connection failed: .*"):
        stage.transform(frame())


CODES = {
    "401": failure(401, "key revoked"),
    "402": failure(402, "no credit"),
    "403": failure(403, "not yours"),
    "404": failure(404, "the model was unloaded"),
    "quota": Reply(429, b'{"error": {"message": "spent", "type": "insufficient_quota"}}'),
    "401 in a 200": Reply(body=b'{"error": {"message": "key revoked", "code": 401}}'),
    "401 as text in a 200": Reply(body=b'{"error": {"message": "key revoked", "code": "401"}}'),
    "quota in a 200": Reply(body=b'{"error": {"message": "spent", "code": "insufficient_quota"}}'),
}


@pytest.mark.parametrize("case", CODES)
def test_a_fatal_error_stops_all_calls(server: ScriptedServer, case: str) -> None:
    """Also after answers, and with on_error='keep': the error counts the lost answers, and names ``cached``."""
    server.do(lambda call: CODES[case] if call.number > 3 else chat("2"))
    with pytest.raises(StageError) as error:
        judge(server, concurrency=1, retries=0).transform(frame(100, 10))
    assert error.value.problems[1] == (
        "lost: 4 answers that this call of the stage received; "
        "cached(llm_judge(...), path, batch_size=32) stores them batch by batch"
    )
    assert len(server.calls) == 5


def test_twenty_failed_calls_in_a_row_stop_the_stage(server: ScriptedServer) -> None:
    """Twenty are an error; nineteen, and then an answer, are nineteen failures."""
    server.do(lambda call: failure(500) if call.number else chat("2"))
    with pytest.raises(StageError, match="20 calls in a row had no answer, the last one for this reason: 500: not now"):
        judge(server, concurrency=1, retries=1).transform(frame(200, 2))
    assert len(server.calls) == 1 + 20 * 2
    server.do(lambda call: chat("2") if call.number in (0, 20) else failure(500) if call.number < 40 else chat("1"))
    with pytest.warns(CascadeWarning, match=r"38 judgments missing"):
        judge(server, concurrency=1, retries=0).transform(frame(42, 1))
    assert len(server.calls) == 42


def test_failed_calls_are_counted_over_frames(server: ScriptedServer) -> None:
    """Calls of the previous frame count, since a cascade calls the stage chunk by chunk; after the error the count restarts."""
    server.do(lambda _: failure(500))
    stage = judge(server, experienced=True, retries=0)
    for _ in range(2):
        with pytest.warns(CascadeWarning, match=r"15 judgments missing"):
            stage.transform(frame(15, 1))
        with pytest.raises(StageError, match="20 calls in a row"):
            stage.transform(frame(15, 1))


def test_a_filter_is_a_refusal_with_any_status(server: ScriptedServer) -> None:
    """A content filter with status 400, 403 or 200 refuses the document, also at the first call."""
    replies = [
        Reply(400, b'{"error": {"code": "content_filter"}}'),
        failure(403, "Your input was flagged by moderation"),
        Reply(body=b'{"error": {"code": "content_policy_violation", "message": "no"}}'),
    ]
    server.do(lambda call: replies[int(_text_of(call)[-1])] if "query 0" in call.prompt else chat("1"))
    with pytest.warns(CascadeWarning, match="3 judgments missing, 3 refused"):
        out = judge(server).transform(frame(2, 3))
    assert out["llm_failed"].tolist() == [True] * 3 + [False] * 3
    assert out["llm_refused"].tolist() == [3] * 3 + [0] * 3


# what a server refuses


FIELDS = {
    "seed": ("Unexpected fields in the request: {'seed'}", {"seed": 0}, {}),
    "logprobs": ("logprobs is not supported with this model", {"logprobs": True, "top_logprobs": 20}, {}),
    "logprobs, by a name with a number": (
        "'logprobs' is not supported with gpt-5.2",
        {"logprobs": True, "top_logprobs": 20},
        {},
    ),
    "logprobs, by a proxy": ("toy does not support parameters: ['logprobs']", {"logprobs": True, "top_logprobs": 20}, {}),
    "top_logprobs, by OpenAI": (
        "Invalid value: 'top_logprobs' must be an integer between 0 and 5, got 20",
        {"top_logprobs": 20},
        {"top_logprobs": 5},
    ),
    "top_logprobs, by vLLM": (
        "Requested sample logprobs of 20, which is greater than max allowed: 8",
        {"top_logprobs": 20},
        {"top_logprobs": 8},
    ),
    "temperature": (
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
        {"temperature": 0},
        {},
    ),
    "max_tokens": (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        {"max_tokens": 16},
        {"max_completion_tokens": 16},
    ),
}


@QUIET
@pytest.mark.parametrize("case", FIELDS)
def test_a_refused_field_is_changed_in_later_calls(server: ScriptedServer, case: str) -> None:
    """The first call is repeated, which counts as a retry; later calls, also of the next frame, are sent without the field."""
    words, old, new = FIELDS[case]

    def script(call: Call) -> Reply:
        return failure(400, words) if old.items() <= call.body.items() else chat("Yes")

    server.do(script)
    stage = judge(server, how="yes_no", on_error="raise")
    out = stage.transform(frame(docs=9))
    stage.transform(frame(docs=4))
    first, *rest = [{name: value for name, value in call.body.items() if name != "messages"} for call in server.calls]
    assert len(rest) == 13
    assert all(body == {name: value for name, value in {**first, **new}.items() if name not in old or name in new} for body in rest)
    assert out["llm_retries"].tolist() == [1] * 9


PARAM = b'{"error": {"message": "Unsupported parameter", "param": "%s", "type": "invalid_request_error", "code": null}}'
LOGPROBS = {"logprobs", "top_logprobs"}
REFUSALS = {
    "403, by OpenAI": (failure(403, "You are not allowed to request logprobs from this model"), LOGPROBS),
    "404, by a router": (failure(404, "No endpoints found that support the parameters: logprobs, seed"), {*LOGPROBS, "seed"}),
    "501": (failure(501, "logprobs is not supported"), LOGPROBS),
    "500": (failure(500, "logprobs is not supported"), LOGPROBS),
    "200 with a code": (Reply(body=b'{"error": {"message": "logprobs is not supported", "code": 400}}'), LOGPROBS),
    "200 without a code": (Reply(body=b'{"error": {"message": "logprobs is not supported"}}'), LOGPROBS),
    "by its name alone": (Reply(400, PARAM % b"max_tokens"), {"max_tokens"}),
    "by its name alone, another": (Reply(400, PARAM % b"seed"), {"seed"}),
    "one value, by Kimi": (failure(400, "invalid temperature: only 1 is allowed for this model"), {"temperature"}),
    "one value, while it thinks": (failure(400, "`temperature` must be 1 when thinking is enabled"), {"temperature"}),
    "a field of old": (failure(400, "`temperature` is deprecated for this model."), {"temperature"}),
}


@QUIET
@pytest.mark.parametrize("case", REFUSALS)
def test_an_error_that_names_a_default_field_removes_it(server: ScriptedServer, case: str) -> None:
    """With any status: one retry, and all later calls lack this field and no other."""
    reply, gone = REFUSALS[case]
    server.do(lambda call: reply if gone & set(call.body) else chat("Yes"))
    out = judge(server, how="yes_no", on_error="raise", retries=0).transform(frame(docs=9))
    first, *rest = [set(call.body) for call in server.calls]
    assert len(rest) == 9
    assert all(first - body == gone for body in rest)
    assert out["llm_retries"].tolist() == [1] * 9


def test_an_error_that_quotes_a_prompt_removes_no_field(server: ScriptedServer) -> None:
    """The call fails without the field as well, so that later calls are sent with it."""
    words = "invalid input: 'a body at the temperature of the wall'"
    server.do(lambda call: failure(400, words) if "text 0 1" in call.prompt else by_number(call))
    with pytest.warns(CascadeWarning) as told:
        out = judge(server, concurrency=1).transform(frame(docs=4))
    assert "requests now have" not in str(told[0].message)
    assert out["llm_failed"].tolist() == [False, True, False, False]
    assert ["temperature" in call.body for call in server.calls] == [True, True, True, False, True]


def test_requests_to_the_o_series_omit_refused_fields(server: ScriptedServer) -> None:
    """No max_tokens, temperature or log-probabilities: three retries of the first call, and a warning that names them."""
    wants = {
        "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "temperature": "Unsupported value: 'temperature' does not support 0 with this model.",
        "logprobs": "Unsupported parameter: 'logprobs' is not supported with this model.",
    }
    server.do(lambda call: next((failure(400, said) for name, said in wants.items() if name in call.body), chat("Yes")))
    said = r"requests now have no logprobs, max_completion_tokens=16, no max_tokens, no temperature, no top_logprobs"
    with pytest.warns(CascadeWarning, match=said):
        out = judge(server, how="yes_no", on_error="raise").transform(frame())
    assert out["llm_retries"].tolist() == [3] * 3
    assert len(server.calls) == 6


def test_what_the_user_sets_is_not_changed(server: ScriptedServer) -> None:
    """A temperature in ``request`` that the server refuses is an error, not dropped."""
    server.do(lambda call: failure(400, "temperature is not supported") if "temperature" in call.body else chat("2"))
    with pytest.raises(StageError, match="temperature is not supported"):
        judge(server, request={"temperature": 0.5}).transform(frame())
    assert len(server.calls) == 1


def test_simultaneous_calls_are_all_repeated_without_a_refused_field(server: ScriptedServer) -> None:
    """Three simultaneous calls are refused for one field: each is repeated without it, and none fails."""
    meeting = threading.Barrier(3)

    def script(call: Call) -> Reply:
        if "seed" not in call.body:
            return by_number(call)
        meeting.wait(10)
        return failure(400, "Unrecognized request argument supplied: seed")

    server.do(script)
    with pytest.warns(CascadeWarning, match="requests now have no seed"):
        out = judge(server, concurrency=3, experienced=True).transform(frame())
    assert out["score"].tolist() == [0.0, 1.0, 2.0]
    assert (len(server.calls), out.loc[0, "llm_retries"]) == (6, 3)


def test_a_limit_below_the_servers_minimum_is_an_error_that_names_the_minimum(server: ScriptedServer) -> None:
    """The field is not left out."""
    server.do(lambda call: by_number(call) if call.body["max_tokens"] >= 32 else failure(400, "max_tokens must be at least 32"))
    with pytest.raises(StageError, match=r"max_tokens must be at least 32. Fix: check base_url, model, max_tokens"):
        judge(server).transform(frame())
    assert judge(server, max_tokens=32).transform(frame())["score"].tolist() == [0.0, 1.0, 2.0]


# many at once, and how they end


def test_as_many_calls_run_at_once_as_allowed(server: ScriptedServer) -> None:
    """Exactly three: each call waits until three are there, and the server never sees more."""
    meeting = threading.Barrier(3)

    def script(call: Call) -> Reply:
        if call.number > 0:  # the first goes alone
            meeting.wait(10)
        return by_number(call)

    server.do(script)
    out = judge(server, concurrency=3).transform(frame(2, 5).head(10))
    assert server.most == 3
    assert out["score"].tolist() == [0, 1, 2, 3, 0] * 2


def test_equal_prompts_are_sent_once(server: ScriptedServer) -> None:
    """Two topics of one text, and a document that stands twice: one call a prompt, counted on the first topic."""
    given = frame(2, 3).assign(query="same", text=["a", "b", "a"] * 2)
    server.do(lambda call: chat("1" if _text_of(call) == "a" else "3"))
    out = judge(server).transform(given)
    assert out["score"].tolist() == [1, 3, 1] * 2
    assert out["llm_calls"].tolist() == [2] * 3 + [0] * 3
    assert len(server.calls) == 2


def test_a_failed_prompt_is_not_sent_twice(server: ScriptedServer) -> None:
    """Two topics with one prompt fail by one call, which counts on the first topic."""
    server.do(lambda _: failure(500))
    with pytest.warns(CascadeWarning, match=r"2 judgments missing"):
        out = judge(server, retries=0).transform(frame(2, 1).assign(query="same", text="same"))
    assert out[["llm_failed", "llm_calls", "llm_failures"]].to_numpy().tolist() == [[True, 1, 1], [True, 0, 1]]
    assert len(server.calls) == 1


def test_queries_take_turns(server: ScriptedServer) -> None:
    """The first document of each query comes first, so that a failing query does not stop the stage."""
    server.do(by_number)
    judge(server, concurrency=1).transform(frame(3, 2))
    assert [_text_of(call) for call in server.calls] == ["text 0 1", "text 1 1", "text 2 1", "text 0 0", "text 1 0", "text 2 0"]


def test_an_interrupt_stops_running_calls(server: ScriptedServer) -> None:
    """Ctrl-C during stalled calls is raised at once, and no further call is made."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def script(call: Call) -> Reply:
        if call.number == 4:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return STALL if call.number else chat("2")

    server.do(script)
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            judge(server, concurrency=4, timeout=60).transform(frame(5, 20))
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 20
    assert len(server.calls) == 5


def test_an_exception_cancels_the_other_jobs() -> None:
    """An exception in one job cancels the others, waits for them, and is raised."""
    stopped = []

    async def stall() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(1)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run_jobs([stall, stall, fail, stall], 3, int))
    assert stopped == [1, 1]


def test_no_more_workers_than_jobs() -> None:
    """A limit of a million does not make a million tasks."""
    most = []

    async def job() -> None:
        most.append(len(asyncio.all_tasks()))

    asyncio.run(run_jobs([job, job], 1_000_000, int))
    assert max(most) <= 4


def test_it_runs_where_an_event_loop_runs_already(server: ScriptedServer) -> None:
    """As in a notebook."""
    server.do(by_number)

    async def cell() -> pd.DataFrame:
        return judge(server).transform(frame())

    assert asyncio.run(cell())["score"].tolist() == [0.0, 1.0, 2.0]


# the key


def test_the_key_is_sent_and_never_shown(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is read at each use, and is not in logs, errors that quote it, the repr, or a pickle."""
    monkeypatch.setenv("TOY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server.do(by_number)
    stage = judge(server, api_key_env="TOY_KEY")
    stage.transform(frame())
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"
    server.do(lambda _: failure(401, f"wrong key {KEY}"))
    fresh = judge(server, api_key_env="TOY_KEY")
    with pytest.raises(StageError, match=r"401: wrong key \[key\]") as error:
        fresh.transform(frame())
    shown = [caplog.text, repr(stage), repr(stage._state), str(error.value), repr(error.value.__cause__)]
    assert not any(KEY in text for text in shown)
    assert KEY.encode() not in pickle.dumps(stage)
    assert KEY not in str(identify(stage))
    monkeypatch.setenv("TOY_KEY", "another")
    server.do(by_number)
    stage.transform(frame())
    assert server.calls[0].headers["authorization"] == "Bearer another"


def test_without_a_key_no_request_goes_to_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, before any call."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingError) as error:
        llm_judge("gpt-5").transform(frame())
    assert str(error.value) == (
        "llm_judge has no key to send: the environment has no OPENAI_API_KEY for https://api.openai.com/v1."
        " Fix: export OPENAI_API_KEY=..., or llm_judge(..., base_url=..., api_key_env=None) for a server that needs no key"
    )


def test_without_the_package_it_says_how_to_install_it(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the pip line; an empty frame does not need the package."""
    monkeypatch.setattr("pt_cascade.errors.find_spec", lambda _: None)
    stage = judge(server)
    assert len(stage.transform(frame().head(0))) == 0
    with pytest.raises(MissingError, match=r"llm_judge needs the package openai\. Fix: pip install openai"):
        stage.transform(frame())


# odd responses


def test_tokens_that_the_server_does_not_count_are_nan(server: ScriptedServer) -> None:
    """Without usage, or with 0 tokens of a prompt: NaN for this query, and counts for the others."""
    usage = {"text 0 0": None, "text 1 0": (0, 2)}
    server.do(lambda call: chat("2", usage=usage.get(_text_of(call), (700, 3))))
    out = judge(server, prices=(1.0, 10.0)).transform(frame(3, 2)).drop_duplicates("qid")
    assert np.isnan(out[["llm_tokens_in", "llm_tokens_out", "llm_usd"]].to_numpy()[0]).all()
    assert np.isnan(out[["llm_tokens_in", "llm_usd"]].to_numpy()[1]).all()
    assert out[["llm_tokens_in", "llm_tokens_out", "llm_usd"]].to_numpy()[2].tolist() == [1400.0, 6.0, pytest.approx(1460e-6)]


ERRORS = {
    "finish_reason": chat("", finish="error"),
    "finish_reason, by DeepSeek": chat("2", finish="insufficient_system_resource"),
    "in the choice": Reply(body=b'{"choices": [{"message": {"content": "2"}, "error": {"code": 502, "message": "upstream"}}]}'),
    "beside nothing": Reply(body=b'{"choices": [{"message": {"content": ""}}], "error": {"message": "upstream"}}'),
    "alone": Reply(body=b'{"error": "overloaded"}'),
    "no body": Reply(204),
    "a list": Reply(body=b"[1, 2]"),
    "a text": Reply(body=b'"2"'),
    "no message": Reply(body=b'{"choices": [{"message": null}]}'),
    "a choice that is none": Reply(body=b'{"choices": ["2"]}'),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_in_place_of_an_answer_is_not_an_answer(server: ScriptedServer, case: str) -> None:
    """A status 200 with an error is retried and never read as a grade; after all retries its words are shown."""
    server.do(lambda call: ERRORS[case] if call.number < 2 else chat("3"))
    fake = FakeTime()
    out = judge(server, fake=fake, on_error="raise").transform(frame(docs=1))
    assert out.loc[0, ["score", "llm_retries", "llm_repaired"]].tolist() == [3.0, 2, 0]
    assert fake.waits == [0.5, 1.0]
    server.do(lambda _: ERRORS[case])
    with pytest.raises(StageError, match=r"200: |502: upstream"):
        judge(server, on_error="raise", retries=1).transform(frame(docs=1))


def test_tokens_of_responses_without_an_answer_are_counted(server: ScriptedServer) -> None:
    """Golden by hand: a body with usage counts; one without costs nothing."""
    charged = [Reply(body=b'{"choices": [], "usage": {"prompt_tokens": 100.0, "completion_tokens": 50}}'), failure(503)]
    server.do(lambda call: charged[call.number] if call.number < 2 else chat("2", usage=(110, 2)))
    out = judge(server, prices=(1.0, 1.0)).transform(frame(docs=1))
    assert out.loc[0, ["llm_tokens_in", "llm_tokens_out", "llm_usd"]].tolist() == [210, 52, pytest.approx(262e-6)]


@pytest.mark.parametrize("charset", ["zlib", "utf-16", "undefined", "nonsense"])
def test_an_unknown_charset_is_ignored(server: ScriptedServer, charset: str) -> None:
    """JSON is UTF-8, with a byte order mark or without, whatever the header says."""
    headers = {"Content-Type": f"application/json; charset={charset}"}
    server.do(lambda _: Reply(200, b"\xef\xbb\xbf" + chat("2").body, headers))
    assert judge(server).transform(frame(docs=1)).loc[0, "score"] == 2.0
