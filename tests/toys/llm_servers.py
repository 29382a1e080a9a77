"""Servers with OpenAI's protocol on the loopback interface: a scripted one with faults, and a real one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

_LONG = 30.0


@dataclass(frozen=True)
class Reply:
    """The response of a server to a call."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    stall: bool = False
    lacking: int = 0  # bytes that are promised and do not come


@dataclass(frozen=True)
class Call:
    """A call that a server got."""

    number: int
    prompt: str
    body: dict[str, Any]
    headers: dict[str, str]


def chat(
    text: str | None,
    *,
    finish: str = "stop",
    usage: tuple[int, int] | None = (1000, 2),
    places: Any = None,
    refusal: str | None = None,
    message: dict[str, Any] | None = None,
) -> Reply:
    """Make an answer in OpenAI's form; ``message`` has further fields of the message."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, "refusal": refusal}}
    if places is not None:
        listed = [[{"token": token, "logprob": value} for token, value in place.items()] for place in places]
        choice["logprobs"] = {"content": [{**place[0], "top_logprobs": place} for place in listed]}
    choice["message"].update(message or {})
    body: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 0, "model": "toy", "choices": [choice]}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Reply(body=json.dumps(body).encode())


def failure(status: int, words: str = "not now", **headers: str) -> Reply:
    """Make an error in OpenAI's form."""
    body = json.dumps({"error": {"message": words, "type": "toy", "param": None, "code": None}}).encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


DROP = Reply(drop=True)
STALL = Reply(stall=True)
HTML = Reply(502, b"<html><h1>Bad Gateway</h1></html>", {"Content-Type": "text/html"})
PAGE = Reply(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})
GARBAGE = Reply(body=b'{"choices": [{"message": {"con')
EMPTY = Reply(body=b'{"choices": []}')
TRUNCATED = Reply(body=b'{"choices": [', lacking=100)
STORM = failure(429, "slow down")
FAULTS = {
    "drop": DROP,
    "html": HTML,
    "page": PAGE,
    "garbage": GARBAGE,
    "empty": EMPTY,
    "truncated": TRUNCATED,
    "storm": STORM,
    "500": failure(500),
    "503": failure(503, "loading"),
    "408": failure(408),
    "409": failure(409),
}
"""Each of them is worth another try."""


@dataclass
class Session:
    """A script, and the calls since it was set."""

    script: Callable[[Call], Reply]
    calls: list[Call] = field(default_factory=list)
    now: int = 0
    most: int = 0
    over: threading.Event = field(default_factory=threading.Event)


class ScriptedServer:
    """Answers each call by its script, and counts the calls and how many run at once."""

    def __init__(self) -> None:
        """Start without a script."""
        self.lock = threading.Lock()
        self.session = Session(lambda _: failure(500, "no script"))
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def do(self, script: Callable[[Call], Reply]) -> None:
        """Set another script; stalled calls are dropped."""
        self.session.over.set()
        self.session = Session(script)

    @property
    def calls(self) -> list[Call]:
        """The calls, in order."""
        return self.session.calls

    @property
    def most(self) -> int:
        """The most calls that ran at once."""
        return self.session.most

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with server.lock:
                    session = server.session
                    call = Call(len(session.calls), body["messages"][-1]["content"], body, headers)
                    session.calls.append(call)
                    session.now += 1
                    session.most = max(session.most, session.now)
                try:
                    reply = session.script(call)
                    if reply.stall:
                        session.over.wait(_LONG)
                finally:
                    with server.lock:
                        session.now -= 1
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                if reply.drop or reply.stall:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(reply.status)
                headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body) + reply.lacking)}
                for name, value in {**headers, **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
                self.close_connection = bool(reply.lacking)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        return Handler


@contextmanager
def scripted() -> Iterator[ScriptedServer]:
    """Run a scripted server; the openai package waits a millisecond between its retries."""
    server = ScriptedServer()
    server.http.handle_error = lambda *_: None  # a client that went away is no news
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        with mock.patch.multiple("openai._base_client", INITIAL_RETRY_DELAY=1e-3, MAX_RETRY_DELAY=1e-3):
            yield server
    finally:
        server.session.over.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def _make_model(folder: Path) -> None:
    """Save a causal language model of random weights and a tokenizer trained here."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    letters = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(["Rank the documents [1] > [2] > [3], Yes or No, 0 1 2 3"], trainer)
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ends)
    fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=len(fast), max_position_embeddings=4096, bos_token_id=0, eos_token_id=1, **size)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


@contextmanager
def transformers_serve(folder: Path, log: Path) -> Iterator[str]:
    """Run ``transformers serve`` with this model, and give its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, str(folder), str(port)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (
        log.open("wb") as words,
        subprocess.Popen(command, stdout=words, stderr=words, env=env) as process,
    ):
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 90) -> None:
    """Wait until the server answers, or raise an error after so many seconds."""
    until = time.monotonic() + seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while not _is_there(opener, url):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
        threading.Event().wait(0.1)


def _is_there(opener: urllib.request.OpenerDirector, url: str) -> bool:
    try:
        opener.open(url, timeout=5).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":  # one process for both: torch takes long to load
    from transformers.cli.transformers import main

    _make_model(Path(sys.argv[1]))
    sys.argv = ["transformers", "serve", sys.argv[1], "--host", "127.0.0.1", "--port", sys.argv[2], "--device", "cpu"]
    main()
