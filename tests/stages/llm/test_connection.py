"""The key of a judge is sent only to its own server, and is never shown, also if it is misplaced, malformed or changed."""

from __future__ import annotations

import base64
import codecs
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from toys.llm_servers import Call, Reply, ScriptedServer, chat, failure, scripted

from pt_cascade.cascade.fingerprints import describe
from pt_cascade.cascade.stage import Stage
from pt_cascade.errors import CascadeError, MissingError, PipelineError, StageError
from pt_cascade.stages.llm.connection import OPENAI_URL, connect, hide_secrets, read_key
from pt_cascade.stages.llm.stage import LlmJudge
from pt_cascade.stages.llm_judge import llm_judge

KEY = "sk-secret0123456789"
FRAME = pd.DataFrame({"qid": ["q"], "query": ["heat"], "docno": ["d"], "text": ["flow"], "rank": [0]})


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A scripted server."""
    with scripted() as server:
        yield server


def judge(server: ScriptedServer, **options: object) -> LlmJudge:
    """A stage without retries."""
    return llm_judge("toy", **{"base_url": server.url, "api_key_env": "TOY_KEY", "retries": 0, **options})


def all_that_is_said(stage: LlmJudge, caplog: pytest.LogCaptureFixture) -> str:
    """Collect the logs of all libraries at every level, the warnings and the error."""
    caplog.clear()
    caplog.set_level(1)
    logging.getLogger().setLevel(1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            stage.transform(FRAME)
        except CascadeError as error:
            told.append(error)  # type: ignore[arg-type]
    return f"{caplog.text} {stage!r} {' '.join(str(getattr(one, 'message', one)) for one in told)}"


ODD_KEYS = {
    "a line end": f"{KEY}\n",
    "two": f"{KEY}\r\n",
    "a return": f"{KEY}\r",
    "spaces": f"  {KEY} ",
}


@pytest.mark.parametrize("case", ODD_KEYS)
def test_white_space_around_a_key_is_left_out(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """White space from an exported file is removed, and the key is in no log."""
    monkeypatch.setenv("TOY_KEY", ODD_KEYS[case])
    server.do(lambda _: chat("2"))
    assert KEY not in all_that_is_said(judge(server), caplog)
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("raw", [f"\u2013{KEY}", f"{KEY} {KEY}", f"a\x00{KEY}".replace("\x00", "\x01"), f"{KEY}\nB"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, raw: str
) -> None:
    """The error names the variable, not its value, and no call is made."""
    monkeypatch.setenv("TOY_KEY", raw)
    server.do(lambda _: chat("2"))
    said = all_that_is_said(judge(server), caplog)
    assert "TOY_KEY holds white space or characters beyond ASCII" in said
    assert KEY not in said
    assert server.calls == []


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12))
@example("\x85key")
def test_any_key_is_sent_whole_or_refused(raw: str) -> None:
    """A key in printable ASCII is sent without white space at its ends; the error of another key does not show it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_KEY", raw)
        value = raw.strip()
        if value and all("\x21" <= letter <= "\x7e" for letter in value):
            key = read_key("TOY_KEY", "http://h/v1")
            assert (key, hide_secrets(f"\n{value}\n", key)) == (value, "\n[key]\n")
        else:
            with pytest.raises(MissingError) as error:
                read_key("TOY_KEY", "http://h/v1")
            assert value.isascii() or value not in str(error.value)


def test_a_key_that_changes_during_a_call_is_hidden(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that was sent is hidden in the error, also if the environment has another one by then."""
    monkeypatch.setenv("TOY_KEY", KEY)

    def script(call: Call) -> Reply:
        monkeypatch.setenv("TOY_KEY", "another")
        return failure(401, f"bad key {call.headers['authorization']}")

    server.do(script)
    with pytest.raises(StageError, match=r"401: bad key Bearer \[key\]"):
        judge(server).transform(FRAME)


ENCODINGS = {
    "as it is": str,
    "reversed": lambda key: key[::-1],
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of the header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "base32": lambda key: base64.b32encode(key.encode()).decode(),
    "base85": lambda key: base64.b85encode(key.encode()).decode(),
    "hex": lambda key: key.encode().hex(),
    "hex in capitals": lambda key: key.encode().hex().upper(),
    "URL": lambda key: "".join(f"%{sign:02X}" for sign in key.encode()),
    "URL, the signs alone": lambda key: key.replace("-", "%2D").replace("_", "%5F"),
    "JSON": lambda key: "".join(f"\\u{ord(sign):04x}" for sign in key),
    "rot13": lambda key: codecs.encode(key, "rot13"),
}
KEYS = st.from_regex(r"sk-[A-Za-z0-9]{20,48}|[0-9a-f]{32}|gsk_[A-Za-z0-9]{30}", fullmatch=True)
WHERE = {
    "the message": lambda text: Reply(400, json.dumps({"error": {"message": f"wrong key {text}, see above"}}).encode()),
    "quotes": lambda text: failure(403, f"unknown key '{text}'."),
    "the code": lambda text: Reply(400, json.dumps({"error": {"code": text, "type": text, "param": text}}).encode()),
    "FastAPI's detail": lambda text: Reply(422, json.dumps({"detail": f"key={text}"}).encode()),
    "a page": lambda text: Reply(502, f"<html>{text}</html>".encode(), {"Content-Type": "text/html"}),
    "a page with status 200": lambda text: Reply(200, f"<html>{text}</html>".encode(), {"Content-Type": "text/html"}),
    "another field": lambda text: Reply(500, json.dumps({"request": {"headers": {"x": text}}, "error": {"status": text}}).encode()),
    "an answer": lambda text: chat(f"I saw {text}"),
    "a refusal": lambda text: chat(None, refusal=f"not with {text}"),
    "the name of a field": lambda text: chat(None, message={text: "x"}),
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KEYS, st.sampled_from(sorted(ENCODINGS)), st.sampled_from(sorted(WHERE)))
@example("1000501000001000000a170000001000", "base85", "FastAPI's detail")
def test_a_key_that_a_server_echoes_is_in_no_error(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, key: str, encoding: str, where: str
) -> None:
    """In no encoding, at no place of a response: no twelve characters of it are in the error, a warning or a log."""
    text = ENCODINGS[encoding](key)
    server.do(lambda _: WHERE[where](text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_KEY", key)
        for on_error in ("raise", "keep"):
            said = all_that_is_said(judge(server, on_error=on_error), caplog)
            judged = where == "an answer"  # a key may hold what reads as a judgment
            assert judged or "judgment" in said or "llm_judge cannot call" in said
            assert not any(text[n : n + 12] in said for n in range(len(text) - 11))


def test_plain_words_of_a_server_are_shown(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of models and fields, numbers, addresses and camel case are not taken for keys."""
    monkeypatch.setenv("TOY_KEY", KEY)
    words = (
        "The model Qwen/Qwen2.5-7B-Instruct-AWQ (gpt-4o-mini-2024-07-18) does not support max_completion_tokens=4096: "
        "InvalidRequestError context_length_exceeded, see https://platform.openai.com/docs/api-reference"
    )
    server.do(lambda _: failure(400, words))
    with pytest.raises(StageError) as error:
        judge(server).transform(FRAME)
    assert error.value.problems == (f"400: {words}",)


def test_a_secret_in_the_request_is_refused_unseen(server: ScriptedServer) -> None:
    """A field with the name of a secret is refused; no field of the request is in the repr, the identity or an error."""
    for name in [
        "token",
        "api_key",
        "api-key",
        "apikey",
        "x-api-key",
        "access_token",
        "client_secret",
        "password",
        "Authorization",
        "key",
    ]:
        for request in ({name: KEY}, {"extra": [{"headers": {name: KEY}}]}):
            with pytest.raises(PipelineError, match=f"has a secret by the name of {name}, expected the key") as error:
                judge(server, request=request)
            assert KEY not in str(error.value)
    stage = judge(server, request={"user": KEY, "prompt_cache_key": "a", "max_tokens": 9, "stop_token_ids": [1]}, api_key_env=None)
    assert not any(KEY in shown for shown in (repr(stage), str(stage.identify()), describe(Stage("s", (stage,)))))
    assert stage.identify() != judge(server, request={"user": "another"}, api_key_env=None).identify()
    server.do(lambda call: failure(400, f"unknown user {call.body['user']}"))
    with pytest.raises(StageError, match=r"unknown user \[hidden\]"):
        stage.transform(FRAME)


@pytest.mark.parametrize("name", ["gsk_0123456789abcdef", "hf_AbCdEfGhIj", "sk-abc", "sk_live_1", "0KEY", "sk abc", 55])
def test_a_key_in_the_place_of_its_name_is_refused_unseen(server: ScriptedServer, name: str) -> None:
    """The stage is refused, and the error does not show the key."""
    with pytest.raises(PipelineError, match=r"api_key_env is n.* \(it is not shown: it may be a key\)") as error:
        judge(server, api_key_env=name)
    assert str(name) not in str(error.value)


def test_an_unset_variable_is_an_error_that_names_it(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in lower case may be a key, and is in neither the error nor the repr."""
    with pytest.raises(
        MissingError,
        match=r"llm_judge has no key to send: the environment has no TOY_KEY for http://.*/v1\. Fix: export",
    ):
        judge(server).transform(FRAME)
    with pytest.raises(PipelineError, match="api_key_env is not the name of an environment variable") as refused:
        judge(server, api_key_env="gsk_small")
    assert "gsk_small" not in str(refused.value)
    monkeypatch.setenv("gsk_small", "x")
    assert "gsk_small" not in repr(judge(server, api_key_env="gsk_small"))


def test_without_a_key_none_is_sent(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No header is sent without a key, and OpenAI's account and key go to no other server."""
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, f"mine-{name}")
    server.do(lambda _: chat("2"))
    judge(server, api_key_env=None).transform(FRAME)
    sent = server.calls[0].headers
    assert "authorization" not in sent
    assert not any("mine-" in value for value in sent.values())
    client = connect(OPENAI_URL, read_key("OPENAI_API_KEY", OPENAI_URL), 0, 60)
    assert (client.organization, client.api_key) == ("mine-OPENAI_ORG_ID", "mine-OPENAI_API_KEY")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Neither the key nor a prompt goes to another server; the error names its address without secrets."""
    monkeypatch.setenv("TOY_KEY", KEY)
    with scripted() as other:
        other.do(lambda _: chat("2"))
        where = f"{other.url.replace('//', '//me:pw@')}/chat/completions?key={KEY}#x"
        server.do(lambda _: Reply(code, b"", {"Location": where}))
        with pytest.raises(StageError) as error:
            judge(server, retries=3).transform(FRAME)
        assert f"{code}: the server redirects to {other.url}; set base_url to that address" in str(error.value)
        assert (len(server.calls), len(other.calls)) == (1, 0)


@pytest.mark.parametrize("where", ["", None, "/v2/chat/completions"])
def test_a_redirect_without_an_address_is_an_error(server: ScriptedServer, where: str | None) -> None:
    """With an empty, a missing or a relative address."""
    server.do(lambda _: Reply(307, b"", {} if where is None else {"Location": where}))
    with pytest.raises(StageError, match=r"redirects to http://127.0.0.1:\d+/v2; set" if where else "307"):
        judge(server, api_key_env=None).transform(FRAME)
    assert len(server.calls) == 1


BAD_URLS = ["http://me:secret@h/v1", "http://h/v1#sk-secret", "http://h/v1?key=secret", "http://h/v1?", "http://h:99999/v1"]
BAD_URLS += [
    "http://h:abc/v1",
    "http://[::1/v1",
    "http://h secret/v1",
    "http:///v1",
    "http://\u2603/v1",
    "http://h/v1 ",
    "ftp://h/v1",
]
BAD_URLS += ["https://host;k=sk/v1", "http://h:0/v1", "secret", 5, b"http://h/v1"]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_malformed_base_url_is_refused_unseen(url: object) -> None:
    """Passwords, queries, fragments, wrong ports and hosts, and other types are refused when the stage is made."""
    with pytest.raises(PipelineError, match="base_url is not like") as error:
        llm_judge("toy", base_url=url)
    assert "secret" not in str(error.value)
    for good in ("https://a-b.c_d:8443/x/v1", "http://[::1]:80", OPENAI_URL):
        assert llm_judge("toy", base_url=good).base_url == good


PROXIES = {
    "no such port": ({"HTTP_PROXY": "http://me:pa55w0rd@ho st:xx"}, StageError),
    "no such scheme": ({"HTTP_PROXY": "ftp://me:pa55w0rd@h"}, StageError),
    "no certificates": ({"SSL_CERT_FILE": "/no/such/pa55w0rd"}, StageError),
}


@pytest.mark.parametrize("case", PROXIES)
def test_a_network_that_cannot_be_used_is_one_of_our_errors(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """The error names the variables to look at, but not their values, which may hold passwords."""
    environment, kind = PROXIES[case]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=r"llm_judge cannot use the network: .*HTTP_PROXY|llm_judge cannot use the network") as error:
        judge(server, api_key_env=None).transform(FRAME)
    assert "pa55w0rd" not in f"{error.value} {error.value.__cause__!r}"
    assert "SSL_CERT_FILE" in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30))
@example("http://[::1]:/v1")
def test_any_address_is_refused_or_can_be_parsed(text: str) -> None:
    """An address that passes has a host and no user, query or fragment."""
    for url in (text, f"http://{text}", f"http://h/{text}"):
        with suppress(PipelineError):
            connect(llm_judge("toy", base_url=url or "-").base_url, "", 0, 60)
            assert not {"@", "?", "#"} & set(url.split("/")[2])
