"""A judge against a real server, ``transformers serve``, with a tiny model of random weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pandas as pd
import pyterrier as pt
import pytest
from tokenizers import Tokenizer
from toys.llm_servers import transformers_serve
from toys.rankers import ToyRetriever, topics

from pt_cascade import run
from pt_cascade.errors import CascadeWarning, StageError
from pt_cascade.stages.llm.prompts import load_prompt
from pt_cascade.stages.llm.stage import LlmJudge
from pt_cascade.stages.llm_judge import llm_judge

pytest.importorskip("fastapi", reason="pip install 'transformers[serving]'")
pytest.importorskip("uvicorn", reason="pip install 'transformers[serving]'")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The model's folder, which is its name, and the server's URL."""
    folder = tmp_path_factory.mktemp("causal")
    with transformers_serve(folder, tmp_path_factory.mktemp("log") / "server.log") as url:
        yield str(folder), url


@pytest.fixture
def results() -> pd.DataFrame:
    """Two queries with five documents each."""
    rows = [(f"q{q}", f"heat flow {q}", f"d{d}", f"a blunt body {d} in flow {q}", d) for q in range(2) for d in range(5)]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "text", "rank"])


def judge(served: tuple[str, str], **options: object) -> LlmJudge:
    """A stage that asks the real server, and marks documents without a judgment."""
    return llm_judge(served[0], **{"base_url": served[1], "api_key_env": None, "max_tokens": 6, "on_error": "keep", **options})


def _transform(stage: LlmJudge, frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        out = stage.transform(frame)
    return out, "; ".join(str(one.message) for one in told if one.category is CascadeWarning)


def test_tokens_are_those_of_the_models_own_tokenizer(served: tuple[str, str], results: pd.DataFrame) -> None:
    """Golden counts of the tokenizer over the chat template; a second call gives the same."""
    out, _ = _transform(judge(served, prices=(1.0, 2.0)), results)
    tokenizer = Tokenizer.from_file(f"{served[0]}/tokenizer.json")
    prompts = [load_prompt(None, "graded").render({"query": row.query, "document": row.text}) for row in results.itertuples()]
    counted = [len(tokenizer.encode(f"user: {prompt}\nassistant:").ids) for prompt in prompts]
    one = out.drop_duplicates("qid")
    assert one["llm_tokens_in"].tolist() == [sum(counted[:5]), sum(counted[5:])]
    assert one["llm_calls"].tolist() == [5, 5]
    assert (one["llm_tokens_out"] <= 5 * 6).all()
    assert one["llm_usd"].tolist() == pytest.approx(((one["llm_tokens_in"] + 2 * one["llm_tokens_out"]) / 1e6).tolist())
    again, _ = _transform(judge(served, prices=(1.0, 2.0)), results)
    pd.testing.assert_frame_equal(again, out)


def test_random_text_is_not_a_judgment(served: tuple[str, str], results: pd.DataFrame) -> None:
    """Every mode keeps the input order, marks it, and names max_tokens; by default it is an error."""
    for how in ("graded", "yes_no", "listwise"):
        out, told = _transform(judge(served, how=how, window=3, step=1), results)
        assert out["rank"].tolist() == results["rank"].tolist()
        assert out["llm_failed"].all()
        one = out.drop_duplicates("qid")
        assert one["llm_failures"].tolist() == one["llm_overlong"].tolist() == ([3, 3] if how == "listwise" else [5, 5])
        assert "its answer was cut off at max_tokens=6" in told
        with pytest.raises(StageError, match="its answer was cut off at max_tokens=6"):
            judge(served, how=how, on_error="raise").transform(results)


def test_the_trace_adds_up(served: tuple[str, str]) -> None:
    """In a cascade, the trace has the calls and tokens."""
    pipeline = ToyRetriever(docs=6) % 3 >> pt.apply.text(lambda row: row["docno"]) >> judge(served) % 2
    with pytest.warns(CascadeWarning, match=r"6 judgments missing"):
        done = run(pipeline, topics(2))
    own = done.trace[done.trace["stage"] == "llm_judge"]
    assert own["llm_calls"].tolist() == own["pairs"].tolist() == own["llm_failures"].tolist() == [3, 3]
    assert (own["llm_tokens_in"] > 3 * 100).all()


def test_the_servers_errors_are_shown(served: tuple[str, str], results: pd.DataFrame) -> None:
    """An unknown field and an unknown model are errors at once, in the server's words."""
    with pytest.raises(StageError, match=r"422: .*Unexpected fields.*colour"):
        judge(served, request={"colour": "red"}).transform(results)
    with pytest.raises(StageError, match=r"400: .*another"):
        judge(("another", served[1])).transform(results)
