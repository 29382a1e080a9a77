"""LLM judges: a language model behind an OpenAI-compatible server grades documents, says yes or no to them, or orders them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from pt_cascade.analysis.prices import price_of
from pt_cascade.errors import PipelineError
from pt_cascade.stages.llm_keys import OPENAI_URL
from pt_cascade.stages.llm_prompts import load_prompt
from pt_cascade.stages.llm_ways import GradedJudge, ListwiseJudge, YesNoJudge

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.stages.llm_stage import LlmJudge

    AnyJudge: TypeAlias = LlmJudge[float] | LlmJudge[tuple[int, ...]]

_TOKENS = 16
_TOKENS_A_NUMBER = 8  # "[20] > " takes 4 to 6
_MILLION = 1e6


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
    prices: tuple[float, float] | str | None = None,
    verbose: bool = False,
) -> AnyJudge:
    """Re-rank by what a language model answers, through any OpenAI-compatible server; nothing that went wrong goes unsaid.

    - ``graded``: each document gets a grade, 0 to 3, and that is its score.
    - ``yes_no``: each document is relevant or not, and its score is the log-odds of yes, log p(yes) - log p(no), as the first
      place of the answer has it, where a word that is not listed gets the most that is left for it; from a server that lists no
      log-probabilities of the very answer 100 for yes and -100 for no.
    - ``listwise``: a window of documents is put in order, from the bottom of the list up; the score is 1/rank.

    **Ties** stay in the order of the ranks that came in. (``pt.Experiment`` breaks them by docno, as trec_eval does.)

    **Answers are repaired by rule**, and each repair is counted. Of an order: the numbers count in the order they stand in, each
    the first time; one that names no document is passed over; what is missing follows in its old order; numbers in words before a
    whole list, and half a number at a cut, do not count. Of a grade: the final score or grade, else what is called a score or a
    grade, else the only number there is, the scale itself passed over; where two such differ, none. Of a yes or no: the first. An
    answer in which nothing is found counts as the lowest grade, as a no, or as the old order. Thoughts before ``</think>`` are
    passed over.

    **A query fails** when one of its calls does, after all retries: it keeps its old order, its scores are 1/rank,
    ``llm_failed`` is True, and no more is asked or tried again for it. Tried again are 429, 408, 409, 5xx, time-outs, lost
    connections and what is no chat completion, after pauses that double and vary, or as ``Retry-After`` says. Any other 4xx fails
    at once; before the first answer it is an error, with the server's words. At any time 401, 402, 403, a spent quota, a redirect
    (none is followed) and 20 calls in a row without an answer are an error, and the answers of that call to the stage are lost:
    ``cached(llm_judge(...), path, batch_size=32)`` keeps them batch by batch.

    **Each row has its query's account**: ``llm_calls``, ``llm_retries``, ``llm_tokens_in``, ``llm_tokens_out``, ``llm_usd`` (NaN
    where unknown: not counted by the server, or a call that was given up after ``timeout``, for which it may charge),
    ``llm_repaired`` (answers), and why: ``llm_malformed`` (not in the form asked for), ``llm_unread`` (nothing found),
    ``llm_partial``, ``llm_repeated``, ``llm_refused``, ``llm_overlong`` (cut at ``max_tokens``); ``llm_bare`` (without
    log-probabilities) and ``llm_failed``. The trace of ``run`` has them too, and a warning sums them up; Python shows a warning
    that says the same again only once, the columns have all. ``llm_unsure`` marks the rows whose own answer was unread, refused or
    overlong: ``cached`` does not keep their scores. A prompt is asked once a frame, however many rows it stands for, on the
    account of the query that came first; ``score`` and ``profile`` ask anew, to look after the truth and the time.

    **Nobody can tell which model answers** behind a name: kept scores are told apart by ``base_url``, ``model`` and what is sent.
    A server that names different models in its answers is warned of. A model whose scores vary from call to call, also at
    temperature 0, needs a ``tolerance`` in ``score``.

    Args:
        model: Its name on the server.
        how: See above. A score depends on query and document alone, but for ``listwise``, which sees the whole list.
        base_url: E.g. ``http://localhost:8000/v1``; None takes the environment's OPENAI_BASE_URL, else OpenAI's own.
        api_key_env: The environment variable with the key, which is read at each use, sent to ``base_url`` (through the proxies of
            the environment, if any), and never kept, shown or logged here; None sends none. OpenAI's own may be missing where
            another server is asked, any other must be there. What a server sends back is not ours to hide from others: the HTTP
            library's log shows its headers at DEBUG, and so a key that it echoes there.
        prompt: A text file with ``{query}`` and ``{document}``, listwise ``{documents}`` and perhaps ``{count}``; with
            ``{instruction}`` where there is one. None: the built-in one. Another text is another stage: its hash is shown.
        instruction: What to look for, said with every query. A topics column ``instruction`` adds to it, on a line below.
        text_field: The column with the document's text.
        max_words: Words of a document that are sent, at most; and ten times as many characters.
        max_tokens: Tokens of an answer, at most; None: 16, or 8 a document of a window. A model that thinks aloud needs more.
        scale: The lowest and the highest grade; another one needs a ``prompt`` that says what it means.
        window: Documents ordered at once.
        step: How far up the next window begins, below ``window``.
        seed: Sent with each prompt beside temperature 0; None, or a server that refuses it: not sent.
        request: Further fields to send, e.g. ``{"chat_template_kwargs": {"enable_thinking": False}}``; one that is None is not
            sent, e.g. ``{"temperature": None}`` for a model that refuses it.
        concurrency: Calls at once, at most; ``listwise`` makes one a query at a time.
        retries: How often a call is tried again.
        timeout: Seconds a call may take.
        prices: US dollars a million tokens, of prompts and of answers; or a name in the price file, one price for both.
        verbose: Show a progress bar.

    Returns:
        A transformer from Frame[qid, query, docno, text] to the same rows with score, rank and the account.

    Raises:
        PipelineError: An option is out of range, or the prompt lacks a place.
        MissingError: There is no such prompt. When used: openai, the key, or what the network's settings name is missing.
        SweepError: There is no such price.
        StageError: When used: the server refuses every call, redirects, falls silent, or is not there.

    References:
        Upadhyay et al., "UMBRELA: UMbrela is the (Open-Source Reproduction of the) Bing RELevance Assessor", arXiv:2406.06519,
        2024: the grades. Sun et al., "Is ChatGPT Good at Search? Investigating Large Language Models as Re-Ranking Agents", EMNLP
        2023: the windows.

    Example:
        >>> llm_judge("qwen3-8b", how="listwise", base_url="http://localhost:8000/v1", concurrency=4)
        ListwiseJudge(model='qwen3-8b', prompt=listwise@..., base_url='http://localhost:8000/v1', ..., window=20, step=10)
    """
    ways: dict[str, Callable[..., AnyJudge]] = {
        "graded": partial(GradedJudge, scale=tuple(scale) if isinstance(scale, list) else scale),  # a list has no hash
        "yes_no": YesNoJudge,
        "listwise": partial(ListwiseJudge, window=window, step=step),
    }
    if not isinstance(how, str) or how not in ways:
        raise PipelineError("llm_judge cannot be made", [f"how is {how!r}, expected one of {', '.join(ways)}"])
    url = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
    most = _TOKENS_A_NUMBER * window if how == "listwise" and type(window) is int else _TOKENS
    return ways[how](
        model=model,
        prompt=load_prompt(prompt, how) if prompt is None or isinstance(prompt, (str, os.PathLike)) else prompt,
        base_url=url.rstrip("/") if isinstance(url, str) else url,
        api_key_env=api_key_env or "",
        instruction=instruction,
        text_field=text_field,
        max_words=max_words,
        max_tokens=most if max_tokens is None else max_tokens,
        seed=seed,
        request=_to_json({} if request is None else request),
        concurrency=concurrency,
        retries=retries,
        timeout=timeout,
        prices=_find_prices(prices),
        verbose=verbose,
    )


def _to_json(request: object) -> str:
    """Keep what is to be sent as text, so that stages compare and hash by value; what cannot be sent so is null."""
    try:
        return json.dumps(request if isinstance(request, Mapping) else None, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return "null"


def _find_prices(prices: object) -> object:
    """Look up a name; anything else is looked at with the other options."""
    if isinstance(prices, str):
        price = price_of(prices)
        if price.unit != "token":
            raise PipelineError("llm_judge cannot be made", [f"the price {prices!r} is a {price.unit}'s, expected a token's"])
        return (price.usd * _MILLION, price.usd * _MILLION)
    return tuple(prices) if isinstance(prices, list) else prices
