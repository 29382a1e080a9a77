"""LLM judges: a language model behind an OpenAI-compatible server grades documents, answers yes or no, or orders them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Literal

from pt_cascade.errors import PipelineError
from pt_cascade.numbers import check_word
from pt_cascade.stages.llm.connection import OPENAI_URL
from pt_cascade.stages.llm.prompts import load_prompt
from pt_cascade.stages.llm.stage import LlmJudge

MODES = ("graded", "yes_no", "listwise")
_TOKENS = 16
_TOKENS_A_NUMBER = 8  # "[20] > " takes 4 to 6


def llm_judge(  # noqa: PLR0913 - options, each with a default
    model: str,
    *,
    how: Literal["graded", "yes_no", "listwise"] = "graded",
    base_url: str | None = None,
    api_key_env: str | None = "OPENAI_API_KEY",
    prompt: str | os.PathLike[str] | None = None,
    instruction: str = "",
    text_field: str = "text",
    max_words: int = 300,
    max_tokens: int | None = None,
    scale: tuple[int, int] = (0, 3),
    window: int = 20,
    step: int = 10,
    seed: int | None = 0,
    request: Mapping[str, object] | None = None,
    concurrency: int = 8,
    retries: int = 5,
    timeout: float = 60.0,
    prices: tuple[float, float] | None = None,
    on_error: Literal["raise", "keep"] = "raise",
    verbose: bool = False,
) -> LlmJudge:
    """Re-rank with a language model behind an OpenAI-compatible server, which grades documents or orders them.

    - ``graded``: the score of a document is its grade, 0 to 3.
    - ``yes_no``: the score is the log-odds of yes, log p(yes) - log p(no), at the token of the answer's yes or no; without
      log-probabilities, 100 or -100.
    - ``listwise``: the model orders windows of documents, from the bottom of the list up; the score is 1/rank.

    Equal scores keep the order of the input ranks. (``pt.Experiment`` breaks ties by docno, as trec_eval does.)

    **A document has no judgment** where its answer cannot be read or was cut off too early; where the model or a content filter
    refuses; where its call fails after all retries; and where the server counts fewer tokens than the prompt has words, so that it
    did not read the whole prompt. With ``on_error="raise"`` this is an error. With ``"keep"`` it is counted and warned of,
    ``llm_failed`` is True, and the document ranks below the judged ones of its query, in input order; ``score`` stores it in
    ``ScoreTable.failed``, and ``cached`` does not store it. A listwise query with a failed window is marked as a whole. Where none
    of the first 20 answers can be read, that is an error in either case.

    **Answers** are read by fixed rules, and answers in another form than the prompt asks for are counted. Reasoning is removed in
    the formats of DeepSeek, Qwen, Magistral, gpt-oss, Command A, Granite and others. A document that a list leaves out follows in
    input order.

    **Calls** are made by the package openai, which retries 408, 409, 429, 5xx, time-outs and lost connections, and honours
    ``Retry-After``. If a rate limit lasts longer, all calls wait up to ten minutes; a status 200 without an answer is asked for
    again. If a server refuses a default field (temperature, seed, max_tokens, log-probabilities), later calls are sent without it,
    and a warning says so; fields of ``request`` never change. The stage stops at 401, 402, 403, 404, a spent quota, a redirect, 20
    failed calls in a row, and any other 4xx before the first answer. It loses the answers of this call to the stage then, unless
    ``cached(llm_judge(...), path, batch_size=32)`` stores them batch by batch. A prompt that stands twice in a frame is asked once.

    **Columns** count for each query: ``llm_calls``, ``llm_retries``, ``llm_tokens_in``, ``llm_tokens_out``, ``llm_usd`` (NaN where
    the server did not count), ``llm_repaired`` (answers in another form), of which ``llm_malformed``, ``llm_partial``,
    ``llm_repeated``, ``llm_overlong`` (cut at ``max_tokens``); ``llm_unread``, ``llm_refused``, ``llm_no_logprobs`` and
    ``llm_failures`` (documents or windows without a judgment). The trace of ``run`` has them too.

    A name does not identify a model: stored scores are told apart by ``base_url``, ``model`` and the fields of the call. If scores
    vary from call to call, also at temperature 0, ``score`` needs a ``tolerance``.

    Args:
        model: The model's name on the server.
        how: The mode. Only ``listwise`` scores depend on the other documents of the list.
        base_url: E.g. ``http://localhost:8000/v1``; None takes OPENAI_BASE_URL of the environment, else OpenAI's server.
        api_key_env: The environment variable with the key, which is read at each use and never stored or shown; None sends no key.
            OPENAI_API_KEY may be unset for another server than OpenAI's.
        prompt: A text file with ``{query}`` and ``{document}``, or for listwise ``{documents}`` and perhaps ``{count}``; with
            ``{instruction}`` if there is one. None takes the built-in prompt. The stage is identified by the text's hash.
        instruction: What counts as relevant, for every query. A topics column ``instruction`` adds a line.
        text_field: The column with the document's text.
        max_words: Most words of a document to send; also ten times as many characters.
        max_tokens: Most tokens of an answer; None takes 16, or 8 a document of a window. A model that reasons needs more.
        scale: The lowest and the highest grade; another one than (0, 3) needs a ``prompt``.
        window: Documents in a window.
        step: Documents between the starts of two windows, fewer than ``window``.
        seed: Sent with each prompt, as is temperature 0; None sends none.
        request: Further fields of a call, e.g. ``{"chat_template_kwargs": {"enable_thinking": False}}``; a field with the value
            None is not sent, e.g. ``{"temperature": None}``.
        concurrency: Most calls at once; ``listwise`` makes one a query at a time.
        retries: Most retries of a call.
        timeout: Seconds to wait for the server.
        prices: US dollars a million tokens, of prompts and of answers.
        on_error: ``raise`` or ``keep`` where a document has no judgment.
        verbose: Whether to show a progress bar.

    Returns:
        A transformer from Frame[qid, query, docno, text] to the same rows with score, rank, ``llm_failed`` and the counts.

    Raises:
        PipelineError: An option is out of range, or the prompt lacks a field.
        MissingError: There is no such prompt. In use: the package openai or the key is missing.
        StageError: In use: a document has no judgment, with ``on_error="raise"``; or the stage stops, see above.

    References:
        Upadhyay et al., "UMBRELA: UMbrela is the (Open-Source Reproduction of the) Bing RELevance Assessor", arXiv:2406.06519,
        2024: the grades. Sun et al., "Is ChatGPT Good at Search? Investigating Large Language Models as Re-Ranking Agents", EMNLP
        2023: the windows.

    Example:
        >>> llm_judge("qwen3-8b", how="listwise", base_url="http://localhost:8000/v1", concurrency=4)
        LlmJudge(how='listwise', model='qwen3-8b', prompt=listwise@..., base_url='http://localhost:8000/v1', ...)
    """
    options = dict(locals())
    if problems := check_word("how", how, MODES):
        raise PipelineError("llm_judge cannot be made", problems)
    url = (os.environ.get("OPENAI_BASE_URL") or OPENAI_URL) if base_url is None else base_url
    most = _TOKENS_A_NUMBER * window if how == "listwise" and type(window) is int else _TOKENS
    options |= {
        "prompt": load_prompt(prompt, how) if prompt is None or isinstance(prompt, (str, os.PathLike)) else prompt,
        "base_url": url.rstrip("/") if isinstance(url, str) else url,
        "api_key_env": "" if api_key_env is None else api_key_env,
        "max_tokens": most if max_tokens is None else max_tokens,
        "scale": tuple(scale) if isinstance(scale, list) else scale,  # a list has no hash
        "request": _to_json({} if request is None else request),
        "prices": tuple(prices) if isinstance(prices, list) else prices,
    }
    return LlmJudge(**options)


def _to_json(request: object) -> str:
    """Write the fields as text, so that stages compare by value; ``null`` where JSON cannot hold them."""
    try:
        return json.dumps(request if isinstance(request, Mapping) else None, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return "null"
