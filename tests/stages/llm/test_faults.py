"""A judge against a server that fails in every way: nothing lost, no call without need, and what has no judgment is marked."""

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
from toys.llm_servers import DROP, FAULTS, STALL, STORM, Call, Reply, ScriptedServer, chat, failure, scripted, stream

from pt_cascade.errors import CascadeWarning, MissingError, StageError
from pt_cascade.stages.base.identity import identify
from pt_cascade.stages.llm.client import Clock, Memory
from pt_cascade.stages.llm.concurrency import drive, run_all
from pt_cascade.stages.llm.stage import LlmJudge
from pt_cascade.stages.llm_judge import llm_judge

KEY = "sk-secret0123456789"
QUIET = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")


class FakeTime:
    """Time that passes only while somebody waits, and remembers how long they did."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A server that does as it is told."""
    with scripted() as server:
        yield server


def judge(server: ScriptedServer, *, experienced: bool = False, fake: FakeTime | None = None, **options: object) -> LlmJudge:
    """A stage that goes on where it fails, for whom no time passes; an experienced one has had an answer before."""
    fake = fake or FakeTime()
    stage = llm_judge("toy", **{"base_url": server.url, "api_key_env": None, "on_error": "keep", **options})
    stage.__dict__["_clock"] = Clock(fake.sleep, lambda: fake.now)
    stage.__dict__["_memory"] = Memory(asked=experienced, answered=experienced, useful=experienced)
    return stage


def frame(queries: int = 1, docs: int = 3) -> pd.DataFrame:
    """Results whose old order is from last to first, each text its own."""
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
    """Tell by hand: the package tries again so often in a row, and so often a response without an answer is asked for again."""
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
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 3)), st.lists(st.sampled_from(sorted(FAULTS)), max_size=4)),
    concurrency=st.integers(1, 8),
    retries=st.integers(0, 3),
)
def test_whatever_fails_nothing_is_lost_and_nothing_is_asked_in_vain(
    server: ScriptedServer, plan: dict[tuple[int, int], list[str]], concurrency: int, retries: int
) -> None:
    """Whatever faults at whatever documents: those that survive are judged as without, the others follow below in their old order.

    Each surviving document is answered once. Calls and retries together are what the server saw, and never were more under way
    than allowed.
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
def test_each_fault_is_tried_again(server: ScriptedServer, fault: str) -> None:
    """Once it is over the answer counts, and the account says that it was asked for twice more."""
    server.do(lambda call: FAULTS[fault] if call.number < 2 else chat("2"))
    out = judge(server, on_error="raise").transform(frame(docs=1))
    assert out.loc[0, ["score", "llm_calls", "llm_retries", "llm_failed"]].tolist() == [2.0, 1, 2, False]
    assert len(server.calls) == 3


def test_a_stall_is_not_waited_for(server: ScriptedServer) -> None:
    """A server that says nothing within the time is asked again; where it stays silent, nobody knows what it charges."""
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
    """A server that takes 20 calls a minute and does not say when to come back: all of 90 documents are judged, none twice."""
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
    """Golden: 15, 30, 60, 60 seconds; the other calls come after them, and then none is lost."""
    fake, seen = FakeTime(), []

    def script(call: Call) -> Reply:
        seen.append(fake.now)
        return STORM if 1 <= call.number <= 4 else chat("2")

    server.do(script)
    out = judge(server, fake=fake, retries=0, concurrency=1).transform(frame(docs=4))
    assert fake.waits == [15, 30, 60, 60]
    assert seen == [0, 0, 15, 45, 105, 165, 165, 165]
    assert out["llm_retries"].unique().tolist() == [4]


def test_retry_after_is_honoured_by_the_package_and_by_us(server: ScriptedServer) -> None:
    """Milliseconds by the package itself; 300 seconds, which are too long for it, by all calls."""
    server.do(lambda call: failure(429, retry_after_ms="1") if call.number == 0 else chat("2"))
    fake = FakeTime()
    assert judge(server, fake=fake).transform(frame(docs=1)).loc[0, ["score", "llm_retries"]].tolist() == [2.0, 1]
    server.do(lambda call: failure(429, Retry_After="300") if call.number == 0 else chat("2"))
    judge(server, fake=fake).transform(frame(docs=1))
    assert fake.waits == [300]


@pytest.mark.parametrize("on_error", ["raise", "keep"])
@pytest.mark.parametrize("reply", [STORM, failure(429, "come back tomorrow", Retry_After="86400")])
def test_a_rate_limit_that_does_not_end_is_an_error(server: ScriptedServer, reply: Reply, on_error: str) -> None:
    """After ten minutes at most; it is no failure of a document, so ``keep`` does not keep it."""
    server.do(lambda call: reply if call.number else chat("2"))
    fake = FakeTime()
    with pytest.raises(StageError, match=r"429: (slow down|come back tomorrow)"):
        judge(server, fake=fake, retries=0, concurrency=1, on_error=on_error).transform(frame())
    assert sum(fake.waits) <= 600


def test_what_a_rate_limit_without_end_advises_works(server: ScriptedServer) -> None:
    """Later: the same stage goes on. One call at a time: a server that refuses two that come together answers each alone."""
    fake = FakeTime()
    server.do(lambda call: by_number(call) if fake.now > 1000 else STORM)
    stage = judge(server, fake=fake, retries=0, concurrency=1)
    with pytest.raises(StageError, match="429: slow down") as error:
        stage.transform(frame())
    assert error.value.fix == "call the stage again later, or llm_judge(..., concurrency=1), which asks less at once"
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
    """It names query and document, the server's words, what is lost, and the cures, of which both work."""
    refuse = lambda call: failure(400, "context length exceeded") if "text 0 1" in call.prompt else by_number(call)  # noqa: E731
    server.do(refuse)
    with pytest.raises(StageError) as error:
        judge(server, on_error="raise", concurrency=1).transform(frame(docs=9))
    assert error.value.what == "llm_judge has no judgment of qid 'q0', docno 'd1'"
    assert error.value.problems == (
        "400: context length exceeded",
        "the 7 answer(s) before, of this call to the stage, are lost with it; "
        "cached(llm_judge(...), path, batch_size=32) keeps them batch by batch",
    )
    assert error.value.fix == "llm_judge(..., on_error='keep') goes on, and marks what has no judgment"
    assert len(server.calls) == 8
    server.do(refuse)
    with pytest.warns(CascadeWarning) as told:
        out = judge(server, on_error="keep", concurrency=1).transform(frame(docs=9))
    assert str(told[0].message) == (
        "llm_judge: 1 document(s) or window(s) have no judgment (qid 'q0', docno 'd1': 400: context length exceeded); "
        "see the columns llm_..."
    )
    assert out["llm_failed"].tolist() == [False, True] + [False] * 7
    assert out["llm_failures"].tolist() == [1] * 9
    assert _order(out) == ["d7", "d3", "d6", "d2", "d5", "d8", "d4", "d0", "d1"]  # grades 3 3 2 2 1 0 0 0, then none


def test_a_query_that_can_never_be_answered_keeps_its_order(server: ScriptedServer) -> None:
    """It comes first, all its documents fail, and all others are judged."""
    server.do(lambda call: failure(400, "context length exceeded") if "query 0" in call.prompt else by_number(call))
    with pytest.warns(
        CascadeWarning, match=r"^llm_judge: 50 document\(s\) or window\(s\) have no judgment \(qid 'q0', docno 'd49'"
    ):
        out = judge(server).transform(given := frame(3, 50))
    lost = out["qid"] == "q0"
    assert out["llm_failed"].equals(lost)
    assert out.loc[lost, "rank"].equals(given.loc[lost, "rank"])
    assert out.loc[lost, "score"].tolist() == [-float(rank + 1) for rank in given.loc[lost, "rank"]]
    assert out.loc[~lost, "score"].tolist() == [float(d % 4) for d in range(50)] * 2


def test_a_list_half_ordered_is_not_given(server: ScriptedServer) -> None:
    """Where the second of two windows fails, the query keeps its whole old order, and all of it is marked."""
    server.do(lambda call: chat("[2] > [1] > [3]") if call.number == 0 else DROP)
    with pytest.warns(CascadeWarning, match="the connection failed"):
        out = judge(server, how="listwise", window=3, step=2, retries=1).transform(frame(1, 5))
    assert _order(out) == ["d4", "d3", "d2", "d1", "d0"]
    assert out.loc[0, ["llm_calls", "llm_retries", "llm_failures"]].tolist() == [2, 1, 1]
    assert out["llm_failed"].all()


def test_a_window_that_cannot_be_read_keeps_its_order(server: ScriptedServer) -> None:
    """By hand, 5 documents, window 3, step 2: the lower window stays, the upper one is turned; the query is marked."""
    server.do(lambda call: chat("[3] > [2] > [1]" if call.number else "I cannot rank these."))
    with pytest.warns(
        CascadeWarning, match=r"1 document\(s\) or window\(s\) have no judgment, 1 unread \(qid 'q0': nothing can be"
    ):
        out = judge(server, how="listwise", window=3, step=2).transform(frame(1, 5))
    assert _order(out) == ["d2", "d3", "d4", "d1", "d0"]
    assert out["score"].tolist() == [1 / 5, 1 / 4, 1, 1 / 2, 1 / 3]
    assert (out["llm_failed"].all(), out.loc[0, "llm_failures"]) == (True, 1)


CUT = chat("Okay, I have to grade this", finish="length")
USELESS = {
    "cut off": (
        CUT,
        r"its answer was cut off at max_tokens=16 before there was anything to read: 'Okay, I have",
        "max_tokens=1024",
    ),
    "cut off, by Gemini's name": (chat("Okay", finish="MAX_TOKENS"), "its answer was cut off at max_tokens=16", "max_tokens=1024"),
    "refused, by Anthropic's name": (chat("2", finish="refusal"), "the model refused: 2", "on_error='keep'"),
    "reasoning cut off": (chat("<think>Is it 2?", finish="length"), "cut off at max_tokens=16", "max_tokens=1024"),
    "reasoning apart": (
        chat(None, finish="length", message={"reasoning_content": "Is it 2?"}),
        "cut off at max_tokens=16 before there was anything to read: reasoning alone",
        "max_tokens=1024",
    ),
    "reasoning without end": (chat("<think>Is it 2?"), "nothing can be read in its answer, '<think>Is it 2", "on_error='keep'"),
    "prose": (chat("Who knows"), "nothing can be read in its answer, 'Who knows'", "on_error='keep'"),
    "a refusal in words": (chat("I cannot grade this."), "nothing can be read in its answer, 'I cannot", "on_error='keep'"),
    "a refusal": (chat(None, refusal="I will not"), "the model refused: a refusal: 'I will not'", "on_error='keep'"),
    "a filter": (chat("2", finish="content_filter"), "the model refused: 2", "on_error='keep'"),
    "a tool": (
        chat(None, finish="tool_calls", message={"tool_calls": [{"id": "1", "type": "function"}]}),
        "nothing can be read in its answer, a tool call",
        "on_error='keep'",
    ),
    "nothing": (chat(""), "nothing can be read in its answer, an empty text", "on_error='keep'"),
    "half a prompt": (chat("2", usage=(64, 1)), r"the server read 64 tokens of a prompt that has \d+ words", "--max-model-len"),
}


@pytest.mark.parametrize("case", USELESS)
def test_what_is_no_judgment_is_no_score(server: ScriptedServer, case: str) -> None:
    """An error that says what came instead, and a cure; with ``keep`` a mark, a count, and a place below the rest."""
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
    """Of 400 documents 20 are asked about, not 400; the cure that is named works."""
    server.do(lambda call: CUT if call.body["max_tokens"] < 1024 else chat("Okay, I have to grade this. Score: 2"))
    given = frame(queries, 400 // queries)
    with pytest.raises(StageError, match="llm_judge gets no answer that can be read: the first 20 are of no use") as error:
        judge(server, concurrency=1).transform(given)
    assert len(server.calls) == 20
    assert error.value.fix.startswith("llm_judge(..., max_tokens=1024)")
    with pytest.warns(CascadeWarning, match="400 malformed"):
        assert (judge(server, max_tokens=1024).transform(given)["score"] == 2.0).all()


def test_a_server_that_reads_half_of_each_prompt_is_noticed(server: ScriptedServer) -> None:
    """It counts 2,048 tokens of 6,000 words; the cure that is named, fewer words, works."""
    server.do(lambda call: chat("2", usage=(min(2048, len(call.prompt.split())), 1)))
    given = frame(4, 10).assign(text="word " * 6000)
    given["text"] += given["qid"] + given["docno"]
    stage = {"max_words": 6000, "concurrency": 1}
    with pytest.raises(StageError, match=r"the server read 2048 tokens of a prompt that has 61\d\d words") as error:
        judge(server, on_error="raise", **stage).transform(given)
    assert "max_words" in error.value.fix
    with pytest.raises(StageError, match="the first 20 are of no use"):
        judge(server, **stage).transform(given.assign(docno=range(40), text=given["text"] + given["docno"]))
    assert (judge(server, max_words=1000).transform(given)["score"] == 2.0).all()


def test_a_prompt_without_spaces_has_more_tokens_than_words(server: ScriptedServer) -> None:
    """Chinese: 4,000 letters are one word, and 1,000 tokens at least."""
    server.do(lambda _: chat("2", usage=(900, 1)))
    with pytest.raises(StageError, match="the server read 900 tokens"):
        judge(server, max_words=4000, on_error="raise").transform(frame(docs=1).assign(text="\u71b1" * 4000))


def test_useless_answers_of_few_queries_do_not_stop_the_rest(server: ScriptedServer) -> None:
    """A model that refuses one query in words, asked alone and first: 40 failures, and the next query is judged."""
    server.do(lambda call: chat("I cannot help with that.") if "query 0" in call.prompt else by_number(call))
    stage = judge(server)
    with pytest.warns(CascadeWarning, match="40 unread"):
        assert stage.transform(frame(1, 40))["llm_failed"].all()
    with pytest.warns(CascadeWarning, match="40 unread"):
        assert stage.transform(frame(2, 40))["llm_failed"].tolist() == [True] * 40 + [False] * 40
    server.do(lambda _: chat("I cannot help with that."))
    with pytest.raises(StageError, match=r"the first 20 are of no use, .* nothing can be read in its answer, 'I cannot help"):
        judge(server, concurrency=1).transform(frame(40, 40))
    assert len(server.calls) == 20


# what ends all calls


def test_a_spent_quota_is_an_error(server: ScriptedServer) -> None:
    """429 with ``insufficient_quota`` will not pass."""
    body = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    server.do(lambda _: Reply(429, body))
    with pytest.raises(StageError, match="429: You exceeded your current quota"):
        judge(server, retries=0).transform(frame())
    assert len(server.calls) == 1


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_a_refusal_before_the_first_answer_is_an_error(server: ScriptedServer, code: int) -> None:
    """Asked once, whatever the concurrency: the server's words, and where to look."""
    server.do(lambda _: failure(code, "no such model"))
    with pytest.raises(StageError) as error:
        judge(server).transform(frame(9, 9))
    fix = "look at base_url, model, the key in the environment, and the fields of request"
    assert str(error.value) == f"llm_judge cannot ask 'toy' at {server.url}: {code}: no such model. Fix: {fix}"
    assert len(server.calls) == 1


def test_a_server_that_is_not_there_is_an_error() -> None:
    """Nobody listens: said once, after the retries, with the address."""
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
def test_what_no_call_can_survive_stops_them_all(server: ScriptedServer, case: str) -> None:
    """Also after answers, and with ``keep``: one error, at once, that says what is lost and how it would not be."""
    server.do(lambda call: CODES[case] if call.number > 3 else chat("2"))
    with pytest.raises(StageError) as error:
        judge(server, concurrency=1, retries=0).transform(frame(100, 10))
    assert error.value.problems[1] == (
        "the 4 answer(s) before, of this call to the stage, are lost with it; "
        "cached(llm_judge(...), path, batch_size=32) keeps them batch by batch"
    )
    assert len(server.calls) == 5


def test_a_server_that_falls_silent_stops_the_run(server: ScriptedServer) -> None:
    """Twenty calls in a row without an answer: an error; nineteen, and then an answer, are nineteen failures."""
    server.do(lambda call: failure(500) if call.number else chat("2"))
    with pytest.raises(StageError, match="20 calls in a row had no answer, the last one for this: 500: not now"):
        judge(server, concurrency=1, retries=1).transform(frame(200, 2))
    assert len(server.calls) == 1 + 20 * 2
    server.do(lambda call: chat("2") if call.number in (0, 20) else failure(500) if call.number < 40 else chat("1"))
    with pytest.warns(CascadeWarning, match=r"38 document\(s\) or window\(s\) have no judgment"):
        judge(server, concurrency=1, retries=0).transform(frame(60, 1))
    assert len(server.calls) == 60


def test_silence_is_counted_over_frames_too(server: ScriptedServer) -> None:
    """A cascade asks chunk by chunk; after the error it is counted anew."""
    server.do(lambda _: failure(500))
    stage = judge(server, experienced=True, retries=0)
    for _ in range(2):
        with pytest.warns(CascadeWarning, match=r"15 document\(s\)"):
            stage.transform(frame(15, 1))
        with pytest.raises(StageError, match="20 calls in a row"):
            stage.transform(frame(15, 1))


def test_a_filter_is_a_refusal_whatever_its_status(server: ScriptedServer) -> None:
    """400 with content_filter, 403 with moderation, 200 with an error: of the document, not of the key, also as the first call."""
    replies = [
        Reply(400, b'{"error": {"code": "content_filter"}}'),
        failure(403, "Your input was flagged by moderation"),
        Reply(body=b'{"error": {"code": "content_policy_violation", "message": "no"}}'),
    ]
    server.do(lambda call: replies[int(_text_of(call)[-1])] if "query 0" in call.prompt else chat("1"))
    with pytest.warns(CascadeWarning, match="3 document.* no judgment, 3 refused"):
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
def test_what_a_server_refuses_it_is_asked_otherwise(server: ScriptedServer, case: str) -> None:
    """One call learns it, the first, and counts it as a retry; all others are sent right, and in the next frame as well."""
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
def test_an_error_that_names_a_field_of_ours_makes_it_go_whatever_its_status(server: ScriptedServer, case: str) -> None:
    """One call learns it, and counts it as a retry; all calls after it go without the field, and only without it."""
    reply, gone = REFUSALS[case]
    server.do(lambda call: reply if gone & set(call.body) else chat("Yes"))
    out = judge(server, how="yes_no", on_error="raise", retries=0).transform(frame(docs=9))
    first, *rest = [set(call.body) for call in server.calls]
    assert len(rest) == 9
    assert all(first - body == gone for body in rest)
    assert out["llm_retries"].tolist() == [1] * 9


def test_a_document_whose_error_speaks_of_a_field_changes_nothing_for_the_others(server: ScriptedServer) -> None:
    """A refusal that has the prompt's words in it stays one without the field; all others are asked with it."""
    words = "invalid input: 'a body at the temperature of the wall'"
    server.do(lambda call: failure(400, words) if "text 0 1" in call.prompt else by_number(call))
    with pytest.warns(CascadeWarning) as told:
        out = judge(server, concurrency=1).transform(frame(docs=4))
    assert "is asked with" not in str(told[0].message)
    assert out["llm_failed"].tolist() == [False, True, False, False]
    assert ["temperature" in call.body for call in server.calls] == [True, True, True, False, True]


def test_a_model_of_the_o_series_is_asked_as_it_wants(server: ScriptedServer) -> None:
    """No max_tokens, no temperature, no log-probabilities: three refusals of the first call, which the warning tells."""
    wants = {
        "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "temperature": "Unsupported value: 'temperature' does not support 0 with this model.",
        "logprobs": "Unsupported parameter: 'logprobs' is not supported with this model.",
    }
    server.do(lambda call: next((failure(400, said) for name, said in wants.items() if name in call.body), chat("Yes")))
    said = r"is asked with no logprobs, max_completion_tokens=16, no max_tokens, no temperature, no top_logprobs"
    with pytest.warns(CascadeWarning, match=said):
        out = judge(server, how="yes_no", on_error="raise").transform(frame())
    assert out["llm_retries"].tolist() == [3] * 3
    assert len(server.calls) == 6


STREAMING = {
    "it refuses the opposite": failure(422, "stream=false is not supported"),
    "it refuses the opposite, in words": failure(400, "Non-streaming requests are not supported"),
    "it says so": failure(400, "This model only support stream mode, please enable the stream parameter to access the model."),
    "it just does": stream(["2"]),
}


@QUIET
@pytest.mark.parametrize("case", STREAMING)
def test_a_server_that_only_streams_is_read(server: ScriptedServer, case: str) -> None:
    """Pieces are put together, the usage at the end counts, a cut is seen; all but the first call ask for a stream."""

    def script(call: Call) -> Reply:
        if not call.body.get("stream"):
            return STREAMING[case]
        assert call.body["stream_options"] == {"include_usage": True}
        return (
            stream(["I say", ": 2"], finish="length") if "text 0 0" in call.prompt else stream(["Gra", "de: ", "2"], usage=(500, 7))
        )

    server.do(script)
    out = judge(server, concurrency=1).transform(frame())
    assert out["llm_failed"].tolist() == [True, False, False]
    assert out["score"].tolist() == [1.0, 2.0, 2.0]
    assert out.loc[0, ["llm_calls", "llm_retries", "llm_tokens_in", "llm_tokens_out"]].tolist() == [3, 1, 2000.0, 16.0]
    assert [call.body.get("stream", False) for call in server.calls] == [False, True, True, True]


BROKEN = {
    "an error in its middle": stream(["1"]).body.split(b"\n\n")[0] + b'\n\ndata: {"error": {"message": "out of memory"}}\n\n',
    "no end": stream(["1", "2"]).body.split(b"\n\n")[0] + b"\n\n",
    "half a piece": stream(["1"]).body[:100],
    "nothing": b"data: [DONE]\n\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_stream_that_breaks_is_no_answer(server: ScriptedServer, case: str) -> None:
    """An error, half a piece, or no piece: asked for again, and never read as far as it goes."""
    broken = Reply(body=BROKEN[case], headers={"Content-Type": "text/event-stream"})
    server.do(lambda call: broken if call.number == 1 else stream(["3"]))
    with pytest.warns(CascadeWarning, match="stream=True"):
        out = judge(server, retries=1, on_error="raise").transform(frame(docs=1))
    assert out.loc[0, ["score", "llm_retries"]].tolist() == [3.0, 2]
    server.do(lambda _: broken)
    with pytest.raises(StageError, match="the answer is none: not JSON, or broken off"):
        judge(server, retries=0, on_error="raise").transform(frame(docs=1))


def test_what_the_user_sets_is_not_changed(server: ScriptedServer) -> None:
    """A temperature in ``request`` that the server refuses is an error, not dropped."""
    server.do(lambda call: failure(400, "temperature is not supported") if "temperature" in call.body else chat("2"))
    with pytest.raises(StageError, match="temperature is not supported"):
        judge(server, request={"temperature": 0.5}).transform(frame())
    assert len(server.calls) == 1


def test_calls_that_learn_it_together_all_go_without(server: ScriptedServer) -> None:
    """Three at once are refused for the same field: each is asked again without it, and none fails."""
    meeting = threading.Barrier(3)

    def script(call: Call) -> Reply:
        if "seed" not in call.body:
            return by_number(call)
        meeting.wait(10)
        return failure(400, "Unrecognized request argument supplied: seed")

    server.do(script)
    with pytest.warns(CascadeWarning, match="is asked with no seed"):
        out = judge(server, concurrency=3, experienced=True).transform(frame())
    assert out["score"].tolist() == [0.0, 1.0, 2.0]
    assert (len(server.calls), out.loc[0, "llm_retries"]) == (6, 3)


def test_other_words_about_a_field_are_an_error(server: ScriptedServer) -> None:
    """A value out of range is told, not dropped."""
    server.do(lambda _: failure(400, "max_tokens must be at least 32"))
    with pytest.raises(StageError, match="max_tokens must be at least 32"):
        judge(server).transform(frame())


# many at once, and how they end


def test_as_many_calls_run_at_once_as_allowed(server: ScriptedServer) -> None:
    """Exactly: each waits until three are there, so that fewer would not get through, and never are there more."""
    meeting = threading.Barrier(3)

    def script(call: Call) -> Reply:
        if call.number > 0:  # the first goes alone
            meeting.wait(10)
        return by_number(call)

    server.do(script)
    out = judge(server, concurrency=3).transform(frame(2, 5).head(10))
    assert server.most == 3
    assert out["score"].tolist() == [0, 1, 2, 3, 0] * 2


def test_what_is_asked_twice_is_asked_once(server: ScriptedServer) -> None:
    """Two topics with one text and one list, and a document that stands twice: one call each, on the first one's account."""
    given = frame(2, 3).assign(query="same", text=["a", "b", "a"] * 2)
    server.do(lambda call: chat("1" if _text_of(call) == "a" else "3"))
    out = judge(server).transform(given)
    assert out["score"].tolist() == [1, 3, 1] * 2
    assert out["llm_calls"].tolist() == [2] * 3 + [0] * 3
    assert len(server.calls) == 2


def test_what_failed_once_is_not_asked_for_another(server: ScriptedServer) -> None:
    """Two topics with one prompt: both fail by one call, which stands on the first one's account."""
    server.do(lambda _: failure(500))
    with pytest.warns(CascadeWarning, match=r"2 document\(s\)"):
        out = judge(server, retries=0).transform(frame(2, 1).assign(query="same", text="same"))
    assert out[["llm_failed", "llm_calls", "llm_failures"]].to_numpy().tolist() == [[True, 1, 1], [True, 0, 1]]
    assert len(server.calls) == 1


def test_queries_take_turns(server: ScriptedServer) -> None:
    """The best document of each query first, so that a query that cannot be answered is no reason to give up."""
    server.do(by_number)
    judge(server, concurrency=1).transform(frame(3, 2))
    assert [_text_of(call) for call in server.calls] == ["text 0 1", "text 1 1", "text 2 1", "text 0 0", "text 1 0", "text 2 0"]


def test_an_interrupt_stops_what_is_under_way(server: ScriptedServer) -> None:
    """Ctrl-C in the middle of stalling calls: it comes out at once, and no further call is made."""
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


def test_an_error_of_ours_stops_what_is_under_way() -> None:
    """An exception in one job cancels the others, waits for them, and comes out."""
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
        drive(lambda: run_all([stall, stall, fail, stall], 3))
    assert stopped == [1, 1]


def test_no_more_workers_than_jobs() -> None:
    """A limit of a million makes no million of tasks."""
    most = []

    async def job() -> None:
        most.append(len(asyncio.all_tasks()))

    drive(lambda: run_all([job, job], 1_000_000))
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
    """It comes from the environment with each use; not in the log, the error though the server echoes it, the repr, or a pickle."""
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
    shown = [caplog.text, repr(stage), repr(stage._memory), str(error.value), repr(error.value.__cause__)]
    assert not any(KEY in text for text in shown)
    assert KEY.encode() not in pickle.dumps(stage)
    assert KEY not in str(identify(stage))
    monkeypatch.setenv("TOY_KEY", "another")
    server.do(by_number)
    stage.transform(frame())
    assert server.calls[0].headers["authorization"] == "Bearer another"


def test_without_a_key_openai_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, before any call."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingError) as error:
        llm_judge("gpt-5").transform(frame())
    assert str(error.value) == (
        "llm_judge has no key to send: the environment has no OPENAI_API_KEY, and https://api.openai.com/v1 wants one."
        " Fix: export OPENAI_API_KEY=..., or llm_judge(..., base_url=...) for another server"
    )


def test_without_the_package_it_says_how_to_install_it(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pip line; an empty frame does not need it."""
    monkeypatch.setattr("pt_cascade.errors.find_spec", lambda _: None)
    stage = judge(server)
    assert len(stage.transform(frame().head(0))) == 0
    with pytest.raises(MissingError, match=r"llm_judge needs the package openai\. Fix: pip install openai"):
        stage.transform(frame())


# odd responses


def test_tokens_that_nobody_counted_are_unknown(server: ScriptedServer) -> None:
    """A server without usage, or that counts no token of a prompt: NaN, not 0; what is known of other queries stays known."""
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
def test_an_error_in_place_of_an_answer_is_no_answer(server: ScriptedServer, case: str) -> None:
    """A 200 that says that it failed is tried again, and never read as a grade; where it goes on, its words are told."""
    server.do(lambda call: ERRORS[case] if call.number < 2 else chat("3"))
    fake = FakeTime()
    out = judge(server, fake=fake, on_error="raise").transform(frame(docs=1))
    assert out.loc[0, ["score", "llm_retries", "llm_repaired"]].tolist() == [3.0, 2, 0]
    assert fake.waits == [0.5, 1.0]
    server.do(lambda _: ERRORS[case])
    with pytest.raises(StageError, match=r"the answer is none: |502: upstream"):
        judge(server, on_error="raise", retries=1).transform(frame(docs=1))


def test_what_a_response_without_an_answer_costs_is_counted(server: ScriptedServer) -> None:
    """Golden by hand: a body with usage counts; one without costs nothing."""
    charged = [Reply(body=b'{"choices": [], "usage": {"prompt_tokens": 100.0, "completion_tokens": 50}}'), failure(503)]
    server.do(lambda call: charged[call.number] if call.number < 2 else chat("2", usage=(110, 2)))
    out = judge(server, prices=(1.0, 1.0)).transform(frame(docs=1))
    assert out.loc[0, ["llm_tokens_in", "llm_tokens_out", "llm_usd"]].tolist() == [210, 52, pytest.approx(262e-6)]


@pytest.mark.parametrize("charset", ["zlib", "utf-16", "undefined", "nonsense"])
def test_a_charset_that_is_none_does_no_harm(server: ScriptedServer, charset: str) -> None:
    """JSON is UTF-8, with a byte order mark or without, whatever the header says."""
    headers = {"Content-Type": f"application/json; charset={charset}"}
    server.do(lambda _: Reply(200, b"\xef\xbb\xbf" + chat("2").body, headers))
    assert judge(server).transform(frame(docs=1)).loc[0, "score"] == 2.0


def test_two_models_under_one_name_are_told(server: ScriptedServer) -> None:
    """A server that changes models in the middle: said, with their names; the scores are not."""
    server.do(lambda call: Reply(body=chat("2").body.replace(b'"toy"', b'"toy-B"')) if call.number else chat("2"))
    with pytest.warns(CascadeWarning, match=r"^llm_judge: 2 models answered under one name \(toy, toy-B\)"):
        judge(server).transform(frame())
