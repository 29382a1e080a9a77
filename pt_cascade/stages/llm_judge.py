"""LLM judges: a language model behind an OpenAI-compatible server grades documents, says yes or no to them, or orders them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from pt_cascade.errors import PipelineError
from pt_cascade.stages.llm.connection import OPENAI_URL
from pt_cascade.stages.llm.modes import GradedJudge, ListwiseJudge, YesNoJudge
from pt_cascade.stages.llm.prompts import load_prompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.stages.llm.stage import LlmJudge

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
    prices: tuple[float, float] | None = None,
    on_error: Literal["raise", "keep"] = "raise",
    verbose: bool = False,
) -> AnyJudge:
    """Re-rank by what a language model answers, through any OpenAI-compatible server; what is no judgment never looks like one.

    - ``graded``: each document gets a grade, 0 to 3, and that is its score.
    - ``yes_no``: each document is relevant or not, and its score is the log-odds of yes, log p(yes) - log p(no), at the token of
      the answer's yes or no, where a word that is not listed gets the most that is left for it; from a server that lists no
      log-probabilities of the very answer 100 for yes and -100 for no.
    - ``listwise``: a window of documents is put in order, from the bottom of the list up; the score is 1/rank.

    **Ties** stay in the order of the ranks that came in. (``pt.Experiment`` breaks them by docno, as trec_eval does.)

    **Answers are read by rule**, and what is not in the form asked for is counted. Reasoning is left out in the formats of
    DeepSeek, Qwen, Magistral, gpt-oss, Command A, Granite and others. Of an order the numbers count in the order they stand in,
    each the first time, and what is missing follows in its old order; numbers of lines and numbers in words around the list do
    not count. Of a grade: the final score or grade, else the first line, else what is called a score or a grade, else the only
    number there is, the scale itself passed over. Of a yes or no: the first word, else the last, or one that is its own clause.

    **There is no judgment** where nothing can be read in an answer, where reasoning does not end, or an answer was cut off before
    its end; where the model or a filter refuses; where a call fails after all retries, or the server refuses the prompt; and where
    it counts fewer tokens than the prompt has words, so that it cannot have read all of it. With ``on_error="raise"`` the first of
    these is an error. With ``"keep"`` it is counted, warned of, and marked by ``llm_failed``, and such a document ranks below the
    judged ones of its query, in the order it had; so a query without any judgment keeps its order. In ``listwise`` a window that
    cannot be read is ordered as far as it can be, and all rows of its query are marked; a query of which a call fails keeps its
    order. ``score`` keeps such documents apart from scores (``ScoreTable.failed``), and replays them as they rank here; ``cached``
    does not keep them. Where none of the first 20 answers is of use, that is an error in any case.

    **Calls** are made by the package openai, which tries 408, 409, 429, 5xx, time-outs and lost connections again, and honours
    ``Retry-After``. A rate limit that lasts longer is waited out by all calls, up to ten minutes; a 200 without an answer is asked
    for again. A server that refuses temperature, seed, max_tokens, log-probabilities or so many of them, or answers only in a
    stream, is asked otherwise from then on, which the warning says; not what ``request`` sets. At any time 401, 402, 403, 404, a
    spent quota, a redirect and 20 calls in a row without an answer are an error, as is any other 4xx before the first answer.
    With an error the answers of that call to the stage are lost: ``cached(llm_judge(...), path, batch_size=32)`` keeps them
    batch by batch.

    **Each row has its query's account**: ``llm_calls``, ``llm_retries``, ``llm_tokens_in``, ``llm_tokens_out``, ``llm_usd`` (NaN
    where a server does not count, or did not answer in time), ``llm_repaired`` (answers), and why: ``llm_malformed`` (not in the
    form asked for), ``llm_partial``, ``llm_repeated``, ``llm_overlong`` (cut at ``max_tokens``); ``llm_unread``, ``llm_refused``,
    ``llm_bare`` (without log-probabilities) and ``llm_failures`` (documents or windows without a judgment). The trace of ``run``
    has them too, and a warning sums them up; Python shows a warning that says the same again only once, the columns have all. A
    prompt is asked once a frame, however many rows it stands for, on the account of the query that came first; ``score`` and
    ``profile`` ask anew, to look after the truth and the time.

    **Nobody can tell which model answers** behind a name: kept scores are told apart by ``base_url``, ``model`` and what is sent.
    A server that names different models in its answers is warned of. A model whose scores vary from call to call, also at
    temperature 0, needs a ``tolerance`` in ``score``.

    Args:
        model: Its name on the server.
        how: See above. A score depends on query and document alone, but for ``listwise``, which sees the whole list.
        base_url: E.g. ``http://localhost:8000/v1``; None takes the environment's OPENAI_BASE_URL, else OpenAI's own.
        api_key_env: The environment variable with the key, which is read at each use, sent to ``base_url`` (through the proxies of
            the environment, if any), and never kept, shown or logged here; None sends none. OpenAI's own may be missing where
            another server is asked, any other must be there.
        prompt: A text file with ``{query}`` and ``{document}``, listwise ``{documents}`` and perhaps ``{count}``; with
            ``{instruction}`` where there is one. None: the built-in one. Another text is another stage: its hash is shown.
        instruction: What to look for, said with every query. A topics column ``instruction`` adds to it, on a line below.
        text_field: The column with the document's text.
        max_words: Words of a document that are sent, at most; and ten times as many characters.
        max_tokens: Tokens of an answer, at most; None: 16, or 8 a document of a window. A model that reasons needs more.
        scale: The lowest and the highest grade; another one needs a ``prompt`` that says what it means.
        window: Documents ordered at once.
        step: How far up the next window begins, below ``window``.
        seed: Sent with each prompt beside temperature 0; None: not sent.
        request: Further fields to send, e.g. ``{"chat_template_kwargs": {"enable_thinking": False}}``; one that is None is not
            sent, e.g. ``{"temperature": None}``.
        concurrency: Calls at once, at most; ``listwise`` makes one a query at a time.
        retries: How often a call is tried again.
        timeout: Seconds that a server may say nothing.
        prices: US dollars a million tokens, of prompts and of answers.
        on_error: ``raise`` or ``keep``, see above.
        verbose: Show a progress bar.

    Returns:
        A transformer from Frame[qid, query, docno, text] to the same rows with score, rank, ``llm_failed`` and the account.

    Raises:
        PipelineError: An option is out of range, or the prompt lacks a place.
        MissingError: There is no such prompt. When used: openai, the key, or what the network's settings name is missing.
        SweepError: There is no such price.
        StageError: When used: there is no judgment of a document, and ``on_error`` is ``raise``; or of none of the first 20; or the
            server refuses every call, redirects, falls silent, or is not there.

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
        prices=tuple(prices) if isinstance(prices, list) else prices,
        on_error=on_error,
        verbose=verbose,
    )


def _to_json(request: object) -> str:
    """Keep what is to be sent as text, so that stages compare and hash by value; what cannot be sent so is null."""
    try:
        return json.dumps(request if isinstance(request, Mapping) else None, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return "null"
