"""A judge against a server that fails in every way: nothing lost, no call made without need, and what cannot be had is said."""

from __future__ import annotations

import asyncio
import gzip
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
from llm_servers import DROP, FAULTS, STALL, STORM, Call, Reply, ScriptedServer, chat, failure, scripted

from pt_cascade.errors import CascadeWarning, MissingError, StageError
from pt_cascade.stages.identity import identify
from pt_cascade.stages.llm_calls import drive, work_off
from pt_cascade.stages.llm_client import Memory, Patience
from pt_cascade.stages.llm_judge import llm_judge
from pt_cascade.stages.llm_stage import LlmJudge

KEY = "sk-secret0123456789"


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

    def patience(self) -> Patience:
        """Give it to a stage; its coin always shows 1."""
        return Patience(self.sleep, lambda: self.now, lambda: 1.0)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A server that does as it is told."""
    with scripted() as server:
        yield server


def judge(server: ScriptedServer, *, experienced: bool = False, fake: FakeTime | None = None, **options: object) -> LlmJudge:
    """A stage for whom no time passes; an experienced one has had an answer before."""
    stage = llm_judge("toy", **{"base_url": server.url, "api_key_env": None, **options})
    stage.__dict__["_patience"] = (fake or FakeTime()).patience()
    stage.__dict__["_memory"] = Memory(asked=experienced, answered=experienced)
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


def _old_order(out: pd.DataFrame, given: pd.DataFrame) -> bool:
    return bool((out["rank"] == given["rank"]).all() and (out["score"] == 1 / (given["rank"] + 1)).all())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 3)), st.lists(st.sampled_from(sorted(FAULTS)), max_size=4)),
    concurrency=st.integers(1, 8),
    retries=st.integers(0, 3),
)
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_whatever_fails_nothing_is_lost_and_nothing_is_asked_in_vain(
    server: ScriptedServer, plan: dict[tuple[int, int], list[str]], concurrency: int, retries: int
) -> None:
    """Whatever faults at whatever documents: what survives is judged as without, the rest keeps its order, the accounts are true.

    A query survives where no document has more faults than there are retries; each of its documents is answered once. Calls and
    retries together are what the server saw, and never were more under way than allowed.
    """
    left = {f"text {q} {d}": [FAULTS[name] for name in faults] for (q, d), faults in plan.items()}
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
    for number, (qid, rows) in enumerate(out.groupby("qid")):
        failed = any(len(faults) > retries for (q, _), faults in plan.items() if q == number)
        assert (rows["llm_failed"] == failed).all()
        if failed:
            assert _old_order(rows, given[given["qid"] == qid])
        else:
            assert rows["score"].tolist() == [0.0, 1.0, 2.0, 3.0]
            assert {text: answered[text] for text in rows["text"]} == dict.fromkeys(rows["text"], 1)
    one = out.drop_duplicates("qid")
    assert one["llm_calls"].sum() + one["llm_retries"].sum() == len(server.calls)
    assert max(answered.values(), default=1) == 1
    assert server.most <= concurrency


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_tried_again(server: ScriptedServer, fault: str) -> None:
    """Once it is over the answer counts, and the account says that it was asked for twice more."""
    server.do(lambda call: FAULTS[fault] if call.number < 2 else chat("2"))
    out = judge(server).transform(frame(docs=1))
    assert out.loc[0, ["score", "llm_calls", "llm_retries", "llm_failed"]].tolist() == [2.0, 1, 2, False]
    assert len(server.calls) == 3


def test_a_stall_is_not_waited_for(server: ScriptedServer) -> None:
    """A server that says nothing within the time is asked again."""
    server.do(lambda call: STALL if call.number == 0 else chat("2"))
    begun = time.monotonic()
    out = judge(server, timeout=0.2).transform(frame(docs=1))
    assert time.monotonic() - begun < 10
    assert out.loc[0, ["score", "llm_retries"]].tolist() == [2.0, 1]


def test_pauses_double_and_are_bounded(server: ScriptedServer) -> None:
    """Golden: 0.5, 1, 2 ... seconds and 30 at most, with the coin at 1; half of that with the coin at 0."""
    server.do(lambda _: failure(500))
    pauses = {}
    for coin in (1.0, 0.0):
        fake = FakeTime()
        stage = judge(server, retries=8, experienced=True)
        stage.__dict__["_patience"] = Patience(fake.sleep, lambda fake=fake: fake.now, lambda coin=coin: coin)
        with pytest.warns(CascadeWarning, match="1 of 1 query"):
            stage.transform(frame(docs=1))
        pauses[coin] = fake.waits
    assert pauses[1.0] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pauses[0.0] == [0.25, 0.5, 1, 2, 4, 8, 15, 15]


PAUSES = {
    "seconds": ({"Retry_After": "7"}, 7.0),
    "milliseconds": ({"retry_after_ms": "1500"}, 1.5),
    "no pause": ({"Retry_After": "0"}, 0.5),
    "no number": ({"Retry_After": "soon"}, 0.5),
    "no milliseconds": ({"retry_after_ms": "soon", "Retry_After": "7"}, 7.0),
    "not a number": ({"Retry_After": "nan"}, 0.5),
    "an endless zone": ({"Retry_After": "Mon, 01 Jan 2030 00:00:00 +99999999999999999999"}, 0.5),
    "a date": ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.5),
}


@pytest.mark.parametrize("case", PAUSES)
def test_retry_after_is_honoured(server: ScriptedServer, case: str) -> None:
    """The pause is the server's, unless ours would be longer: a server that says 0 is not hammered, a date gone by is past."""
    header, wait = PAUSES[case]
    server.do(lambda call: failure(429, **header) if call.number == 0 else chat("2"))
    fake = FakeTime()
    judge(server, fake=fake).transform(frame(docs=1))
    assert sum(fake.waits) == wait


def test_a_storm_is_waited_out_by_all(server: ScriptedServer) -> None:
    """Told to come back after 9 seconds, no other call is made before."""
    fake = FakeTime()
    seen = []

    def script(call: Call) -> Reply:
        seen.append(fake.now)
        return failure(429, Retry_After="9") if call.number == 3 else chat("2")

    server.do(script)
    out = judge(server, fake=fake, concurrency=1).transform(frame(docs=8))
    assert seen == [0.0] * 4 + [9.0] * 5
    assert out["llm_retries"].unique().tolist() == [1]


def test_a_server_that_wants_too_long_a_pause_is_not_waited_for(server: ScriptedServer) -> None:
    """Nor asked again before it said."""
    server.do(lambda _: failure(429, "come back tomorrow", Retry_After="86400"))
    with pytest.warns(CascadeWarning, match="429: come back tomorrow"):
        out = judge(server).transform(frame(docs=1))
    assert (out.loc[0, "llm_failed"], len(server.calls)) == (True, 1)


def test_a_spent_quota_is_not_tried_again(server: ScriptedServer) -> None:
    """429 with ``insufficient_quota`` will not pass; before the first answer it is an error."""
    body = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    server.do(lambda _: Reply(429, body))
    with pytest.raises(StageError, match="429: You exceeded your current quota"):
        judge(server).transform(frame())
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


def test_a_refusal_later_fails_the_query_alone(server: ScriptedServer) -> None:
    """A document that is too long for the model: its query keeps its order at once, the others are judged."""
    server.do(lambda call: failure(400, "context length exceeded") if "text 1 0" in call.prompt else by_number(call))
    given = frame(3, 4)
    said = r"^llm_judge: 1 of 3 query\(ies\) failed and keep their old order \(qid q1: 400: context length exceeded\); see .*llm_"
    with pytest.warns(CascadeWarning, match=said):
        out = judge(server, concurrency=1).transform(given)
    assert out.groupby("qid")["llm_failed"].first().tolist() == [False, True, False]
    assert _old_order(out[out["qid"] == "q1"], given[given["qid"] == "q1"])
    assert sum("text 1 " in call.prompt for call in server.calls) == 4  # by old rank it was the last


def test_a_failed_query_is_asked_nothing_more(server: ScriptedServer) -> None:
    """After the first failure of a query the rest of its documents is not paid for."""
    server.do(lambda _: failure(500))
    with pytest.warns(CascadeWarning, match="2 of 2"):
        out = judge(server, concurrency=1, retries=1).transform(frame(2, 50))
    assert len(server.calls) == 4
    assert out.drop_duplicates("qid")[["llm_calls", "llm_retries"]].to_numpy().tolist() == [[1, 1], [1, 1]]


def test_a_list_half_ordered_is_not_kept(server: ScriptedServer) -> None:
    """Where the second of two windows fails, the query keeps its whole old order."""
    server.do(lambda call: chat("[2] > [1] > [3]") if call.number == 0 else DROP)
    given = frame(1, 5)
    with pytest.warns(CascadeWarning, match="the connection failed"):
        out = judge(server, how="listwise", window=3, step=2, retries=1).transform(given)
    assert _old_order(out, given)
    assert out.loc[0, ["llm_calls", "llm_retries", "llm_failed"]].tolist() == [2, 1, True]


def test_a_server_that_is_not_there_is_an_error() -> None:
    """Nobody listens: said once, after the retries, with the address."""
    with scripted() as gone:
        stage = judge(gone, retries=1)
    with pytest.raises(StageError, match=r"at http://127.0.0.1:\d+/v1: the connection failed: .*"):
        stage.transform(frame())


FIELDS = {
    "seed": ("Unexpected fields in the request: {'seed'}", "seed", None),
    "logprobs": ("logprobs is not supported with this model", "logprobs", None),
    "logprobs, by a proxy": ("toy does not support parameters: ['logprobs']", "logprobs", None),
    "max_tokens": (
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'",
        "max_tokens",
        "max_completion_tokens",
    ),
}


@pytest.mark.parametrize("case", FIELDS)
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_a_field_that_the_server_refuses_is_left_out(server: ScriptedServer, case: str) -> None:
    """One call learns it, the first; all others go without, and in the next frame as well."""
    words, field, instead = FIELDS[case]
    server.do(lambda call: failure(400, words) if field in call.body else chat("Yes"))
    stage = judge(server, how="yes_no")
    for docs in (9, 4):
        stage.transform(frame(docs=docs))
    assert [field in call.body for call in server.calls] == [True] + [False] * 13
    assert instead is None or all(call.body[instead] == 16 for call in server.calls[1:])
    assert ("top_logprobs" in server.calls[-1].body) == (field != "logprobs")


def test_calls_that_learn_it_together_all_go_without(server: ScriptedServer) -> None:
    """Three at once are refused for the same field: each is asked again without it, and none fails."""
    meeting = threading.Barrier(3)

    def script(call: Call) -> Reply:
        if "seed" not in call.body:
            return by_number(call)
        meeting.wait(10)
        return failure(400, "Unrecognized request argument supplied: seed")

    server.do(script)
    out = judge(server, concurrency=3, experienced=True).transform(frame())
    assert out["score"].tolist() == [0.0, 1.0, 2.0]
    assert (len(server.calls), out.loc[0, "llm_retries"]) == (6, 3)


def test_other_words_about_a_field_are_an_error(server: ScriptedServer) -> None:
    """A value out of range is told, not dropped."""
    server.do(lambda _: failure(400, "max_tokens must be at least 32"))
    with pytest.raises(StageError, match="max_tokens must be at least 32"):
        judge(server).transform(frame())


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
    with pytest.warns(CascadeWarning, match="2 of 2"):
        out = judge(server, retries=0).transform(frame(2, 1).assign(query="same", text="same"))
    assert out[["llm_failed", "llm_calls"]].to_numpy().tolist() == [[True, 1], [True, 0]]
    assert len(server.calls) == 1


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
        drive(lambda: work_off([stall, stall, fail, stall], 3))
    assert stopped == [1, 1]


def test_it_runs_where_an_event_loop_runs_already(server: ScriptedServer) -> None:
    """As in a notebook."""
    server.do(by_number)

    async def cell() -> pd.DataFrame:
        return judge(server).transform(frame())

    assert asyncio.run(cell())["score"].tolist() == [0.0, 1.0, 2.0]


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
        "llm_judge has no key: the environment has no OPENAI_API_KEY, and https://api.openai.com/v1 wants one."
        " Fix: export OPENAI_API_KEY=..., or llm_judge(..., base_url=...) for another server"
    )


def test_without_the_package_it_says_how_to_install_it(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pip line; an empty frame does not need it."""
    monkeypatch.setattr("pt_cascade.stages.reranker.find_spec", lambda _: None)
    stage = judge(server)
    assert len(stage.transform(frame().head(0))) == 0
    with pytest.raises(MissingError, match=r"llm_judge needs the package openai\. Fix: pip install openai"):
        stage.transform(frame())


def test_tokens_that_nobody_counted_are_unknown(server: ScriptedServer) -> None:
    """A server without usage: NaN, not 0; what is known of other queries stays known."""
    server.do(lambda call: chat("2", usage=None if "text 0 0" in call.prompt else (7, 3)))
    out = judge(server, prices=(1.0, 10.0)).transform(frame(2, 2)).drop_duplicates("qid")
    assert np.isnan(out[["llm_tokens_in", "llm_tokens_out", "llm_usd"]].to_numpy()[0]).all()
    assert out[["llm_tokens_in", "llm_tokens_out", "llm_usd"]].to_numpy()[1].tolist() == [14.0, 6.0, pytest.approx(74e-6)]


CODES = {
    "401": failure(401, "key revoked"),
    "402": failure(402, "no credit"),
    "403": failure(403, "not yours"),
    "quota": Reply(429, b'{"error": {"message": "spent", "type": "insufficient_quota"}}'),
    "401 in a 200": Reply(body=b'{"error": {"message": "key revoked", "code": 401}}'),
    "401 as text in a 200": Reply(body=b'{"error": {"message": "key revoked", "code": "401"}}'),
    "quota in a 200": Reply(body=b'{"error": {"message": "spent", "code": "insufficient_quota"}}'),
}


@pytest.mark.parametrize("case", CODES)
def test_what_no_call_can_survive_stops_them_all(server: ScriptedServer, case: str) -> None:
    """Also after answers: one error, at once, that says what is lost and how it would not be; not hundreds of failed queries."""
    server.do(lambda call: CODES[case] if call.number > 3 else chat("2"))
    stage = judge(server, concurrency=1)
    with pytest.raises(StageError) as error:
        stage.transform(frame(100, 10))
    assert error.value.problems[1] == (
        "the 4 answer(s) before, of this call to the stage, are lost with it; "
        "cached(llm_judge(...), path, batch_size=32) keeps them batch by batch"
    )
    assert len(server.calls) == 5


def test_a_server_that_falls_silent_stops_the_run(server: ScriptedServer) -> None:
    """Twenty calls in a row without an answer: an error; nineteen, and then an answer, are nineteen failed queries."""
    server.do(lambda call: failure(500) if call.number else chat("2"))
    with pytest.raises(StageError, match="20 calls in a row had no answer, the last one for this: 500: not now"):
        judge(server, concurrency=1, retries=1).transform(frame(200, 2))
    assert len(server.calls) == 1 + 20 * 2
    server.do(lambda call: chat("2") if call.number in (0, 20) else failure(500) if call.number < 40 else chat("1"))
    with pytest.warns(CascadeWarning, match="38 of 60 query"):
        judge(server, concurrency=1, retries=0).transform(frame(60, 1))
    assert len(server.calls) == 60


def test_silence_is_counted_over_frames_too(server: ScriptedServer) -> None:
    """A cascade asks chunk by chunk; after the error it is counted anew."""
    server.do(lambda _: failure(500))
    stage = judge(server, experienced=True, retries=0)
    with pytest.warns(CascadeWarning, match="15 of 15"):
        stage.transform(frame(15, 1))
    with pytest.raises(StageError, match="20 calls in a row"):
        stage.transform(frame(15, 1))
    with pytest.warns(CascadeWarning, match="15 of 15"):
        stage.transform(frame(15, 1))


def test_a_call_for_a_failed_query_is_left_but_made_for_another(server: ScriptedServer) -> None:
    """While one call of a query pauses, another one is refused for good: the first is not tried again; who shares its prompt asks.

    The pause lasts until the worker that was refused has gone on to the last query, so the order of events is certain.
    """
    gone_on = threading.Event()
    tries: Counter[str] = Counter()

    def script(call: Call) -> Reply:
        text = _text_of(call)
        tries[text] += 1
        if text == "last":
            gone_on.set()
        return failure(400, "too long") if text == "bad" else failure(500) if text == "shared" and tries[text] == 1 else chat("3")

    async def sleep(_: float) -> None:
        await asyncio.to_thread(gone_on.wait, 10)

    server.do(script)
    given = frame(4, 1).assign(qid=["a", "a", "b", "c"], query="same", text=["shared", "bad", "shared", "last"], docno=list("wxyz"))
    stage = judge(server, experienced=True, concurrency=3)
    stage.__dict__["_patience"] = Patience(sleep, lambda: 0.0, lambda: 1.0)
    with pytest.warns(CascadeWarning, match=r"1 of 3 query\(ies\) failed .*\(qid a: 400: too long\)"):
        out = stage.transform(given)
    assert tries == {"shared": 2, "bad": 1, "last": 1}
    assert out[["llm_failed", "llm_calls", "llm_retries"]].to_numpy().tolist() == [[True, 2, 0]] * 2 + [[False, 1, 0]] * 2
    assert out["score"].tolist()[2:] == [3.0, 3.0]


def test_a_pause_that_grows_is_waited_out(server: ScriptedServer) -> None:
    """Who waits for one pause hears of another meanwhile: nobody asks before the later one is over."""
    fake, memory, seen = FakeTime(), Memory(asked=True, answered=True, free_at=5.0), []

    async def sleep(seconds: float) -> None:
        await fake.sleep(seconds)
        memory.free_at = 9.0  # as another call was told meanwhile

    server.do(lambda _: seen.append(fake.now) or chat("2"))
    stage = judge(server)
    stage.__dict__.update(_memory=memory, _patience=Patience(sleep, lambda: fake.now, lambda: 1.0))
    stage.transform(frame(docs=1))
    assert (fake.waits, seen) == ([5.0, 4.0], [9.0])


def test_not_all_come_back_at_once(server: ScriptedServer) -> None:
    """After a pause the calls are spread over a tenth of it: golden, with a coin at 0, 10 seconds are 11."""
    server.do(lambda call: failure(429, Retry_After="10") if call.number == 0 else chat("2"))
    fake = FakeTime()
    stage = judge(server)
    stage.__dict__["_patience"] = Patience(fake.sleep, lambda: fake.now, lambda: 0.0)
    stage.transform(frame(docs=1))
    assert fake.waits == [0.25, pytest.approx(9.75 * 1.1)]


ERRORS = {
    "finish_reason": chat("", finish="error"),
    "in the choice": Reply(body=b'{"choices": [{"message": {"content": "2"}, "error": {"code": 502, "message": "upstream"}}]}'),
    "beside nothing": Reply(body=b'{"choices": [{"message": {"content": ""}}], "error": {"message": "upstream"}}'),
    "alone": Reply(body=b'{"error": "overloaded"}'),
    "no body": Reply(204),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_in_place_of_an_answer_is_no_answer(server: ScriptedServer, case: str) -> None:
    """A 200 that says that it failed is tried again, and never read as a grade."""
    server.do(lambda call: ERRORS[case] if call.number < 2 else chat("3"))
    out = judge(server).transform(frame(docs=1))
    assert out.loc[0, ["score", "llm_retries", "llm_repaired"]].tolist() == [3.0, 2, 0]


def test_what_failed_calls_cost_is_counted(server: ScriptedServer) -> None:
    """Golden by hand: a body with usage counts, whatever its status; one without costs nothing; who timed out, nobody knows."""
    usage = b'"usage": {"prompt_tokens": 100.0, "completion_tokens": 50}}'
    charged = [Reply(body=b'{"choices": [], ' + usage), Reply(500, b'{"error": {"message": "x"}, ' + usage), failure(503)]
    server.do(lambda call: charged[call.number] if call.number < 3 else chat("2", usage=(10, 2)))
    out = judge(server, prices=(1.0, 1.0)).transform(frame(docs=1))
    assert out.loc[0, ["llm_tokens_in", "llm_tokens_out", "llm_usd"]].tolist() == [210, 102, pytest.approx(312e-6)]
    server.do(lambda call: STALL if call.number == 0 else chat("2"))
    out = judge(server, timeout=0.2, prices=(1.0, 1.0)).transform(frame(docs=1))
    assert out[["llm_tokens_in", "llm_tokens_out", "llm_usd"]].isna().all(axis=None)
    assert out.loc[0, "score"] == 2.0


@pytest.mark.parametrize("charset", ["zlib", "hex", "rot13", "base64", "utf-16", "idna", "undefined", "nonsense"])
@pytest.mark.parametrize("status", [200, 401])
def test_a_charset_that_is_none_does_no_harm(server: ScriptedServer, charset: str, status: int) -> None:
    """JSON is UTF-8, with a byte order mark or without, whatever the header says."""
    headers = {"Content-Type": f"application/json; charset={charset}"}
    if status == 200:
        server.do(lambda _: Reply(200, b"\xef\xbb\xbf" + chat("2").body, headers))
        assert judge(server).transform(frame(docs=1)).loc[0, "score"] == 2.0
    else:
        server.do(lambda _: Reply(401, failure(401, "wrong key \u00e9").body, headers))
        with pytest.raises(StageError, match="401: wrong key \u00e9"):
            judge(server).transform(frame(docs=1))


def test_an_endless_answer_is_not_read_to_its_end(server: ScriptedServer) -> None:
    """Nine megabytes, or few that unfold into many: no answer, said with the limit."""
    bomb = gzip.compress(b" " * (64 << 20), 1)
    for reply in (Reply(body=b" " * (9 << 20)), Reply(body=bomb, headers={"Content-Encoding": "gzip"})):
        server.do(lambda _, reply=reply: reply)
        with pytest.warns(CascadeWarning, match="the answer is none: not JSON: more than 8 MiB"):
            judge(server, retries=0).transform(frame(docs=1))


def test_no_more_workers_than_jobs() -> None:
    """A limit of a million makes no million of tasks."""
    most = []

    async def job() -> None:
        most.append(len(asyncio.all_tasks()))

    drive(lambda: work_off([job, job], 1_000_000))
    assert max(most) <= 4


def test_two_models_under_one_name_are_told(server: ScriptedServer) -> None:
    """A server that changes models in the middle: said, with their names; the scores are not."""
    server.do(lambda call: Reply(body=chat("2").body.replace(b'"toy"', b'"toy-B"')) if call.number else chat("2"))
    with pytest.warns(CascadeWarning, match=r"^llm_judge: 2 models answered under one name \(toy, toy-B\)"):
        judge(server).transform(frame())


def test_storms_end_and_so_do_we(server: ScriptedServer) -> None:
    """429 for ever: as many tries as allowed, then the query is marked."""
    server.do(lambda _: STORM)
    with pytest.warns(CascadeWarning, match="429: slow down"):
        out = judge(server, retries=2).transform(frame(docs=1))
    assert (len(server.calls), out.loc[0, "llm_failed"]) == (3, True)
