"""An LLM judge as a stage: prompts, instructions, modes, ties, counts, and its place in a cascade."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys.llm_servers import Call, Reply, ScriptedServer, chat, scripted
from toys.rankers import ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade, run
from pt_cascade.analysis.table.tie_rules import EVERY_RULE, TieRule, narrow_rules
from pt_cascade.cascade import walk
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.cascade.known import look_up
from pt_cascade.cascade.stage import Stage
from pt_cascade.errors import CascadeError, CascadeWarning, FrameError, MissingError, PipelineError
from pt_cascade.stages.llm.prompts import Prompt, cut_text, find_faults, load_prompt, number_documents, slide
from pt_cascade.stages.llm.queries import read_queries
from pt_cascade.stages.llm.responses import read_response
from pt_cascade.stages.llm.stage import LlmJudge
from pt_cascade.stages.llm.usage import ACCOUNTS
from pt_cascade.stages.llm_judge import llm_judge

WAYS = ("graded", "yes_no", "listwise")
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A scripted server."""
    with scripted() as server:
        yield server


def judge(server: ScriptedServer | None = None, **options: object) -> LlmJudge:
    """A stage without a key that marks documents without a judgment."""
    given = {"base_url": server.url if server else NOWHERE, "api_key_env": None, "on_error": "keep", **options}
    return llm_judge("toy", **given)


def results(texts: list[str], ranks: list[int] | None = None, query: str = "heat flow", qid: str = "q") -> pd.DataFrame:
    """A query's documents."""
    frame = pd.DataFrame({"qid": qid, "query": query, "docno": [f"d{n}" for n in range(len(texts))], "text": texts})
    return frame if ranks is None else frame.assign(rank=ranks, score=[-float(rank) for rank in ranks])


def sort_by_number(call: Call) -> Reply:
    """Order documents by the number in their text, largest first."""
    shown = [(int(number), float(text)) for number, text in re.findall(r"^\[(\d+)\] (-?\d+)$", call.prompt, re.MULTILINE)]
    return chat(" > ".join(f"[{number}]" for number, _ in sorted(shown, key=lambda pair: -pair[1])))


# prompts


@given(st.text(), st.text(), st.text())
def test_a_prompt_is_filled_with_any_text(query: str, document: str, instruction: str) -> None:
    """Braces, field names and brackets in a query or a document are text: equal to a plain concatenation."""
    prompt = Prompt("p", 'a {query} {"json": {}} {document}\n{instruction}\nz {query}')
    made = prompt.render({"query": query, "document": document, "instruction": instruction})
    line = f"\n{instruction}" if instruction else ""
    joined = f'a {query} {{"json": {{}}}} {document}{line}\nz {query}'
    assert made == joined.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("how", WAYS)
def test_the_built_in_prompts_have_all_fields(how: str) -> None:
    """Each can be used with an instruction and without."""
    prompt = load_prompt(None, how)
    assert list(find_faults(prompt, how, "any")) == []
    assert "{instruction}" in prompt.text


def test_the_prompts_hash_is_that_of_its_text(tmp_path: Path) -> None:
    """Golden from sha256sum: the first twelve digits for ``{query} {document}``; line ends and a byte order mark do not count."""
    for n, text in enumerate((b"{query} {document}", b"\xef\xbb\xbf{query} {document}")):
        (tmp_path / f"{n}.txt").write_bytes(text)
        assert load_prompt(tmp_path / f"{n}.txt", "graded").hash == "68419757f71f"
    assert repr(load_prompt(tmp_path / "0.txt", "graded")) == "0.txt@68419757f71f"


def test_another_prompt_is_another_stage(tmp_path: Path) -> None:
    """Stages and fingerprints differ with the prompt's text, not with its name; the repr shows the hash."""
    for name, text in (("a", "{query} {document}"), ("b", "{query} {document}"), ("c", "{query}: {document}")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    a, b, c = (judge(prompt=tmp_path / name) for name in "abc")
    assert a == b
    assert hash(a) == hash(b) == hash(judge(prompt=tmp_path / "a", scale=[0, 3], prices=None))
    assert a != c
    assert fingerprint(Stage("s", (a,))) != fingerprint(Stage("s", (c,)))
    assert a.prompt.hash in repr(a)
    assert "{query}" not in repr(a)
    assert str(tmp_path) not in repr(a)


def test_all_faults_of_the_options_are_named_at_once(tmp_path: Path) -> None:
    """Missing and unknown fields of the prompt, and every option out of range; a misplaced secret is not shown."""
    file = tmp_path / "mine.txt"
    file.write_text("{query} {passage}", encoding="utf-8")
    with pytest.raises(PipelineError) as error:
        llm_judge(
            "",
            prompt=file,
            base_url="http://me:secret@host/v1",
            api_key_env="sk-secret",
            instruction="only recent",
            scale=(3, 0),
            max_words=0,
            max_tokens=0,
            concurrency=0,
            retries=-1,
            timeout=0,
            prices=(-1, 2),
            on_error="skip",
            request={"stream": True},
        )
    assert error.value.what == "llm_judge cannot be made"
    assert error.value.problems == (
        "prompt mine.txt has no field {document}",
        "prompt mine.txt has no field {instruction}",
        "prompt mine.txt has {passage}, expected {query}, {document} or {instruction}",
        "max_words is 0, expected a whole number, 1 or more",
        "max_tokens is 0, expected a whole number, 1 or more",
        "concurrency is 0, expected a whole number, 1 or more",
        "retries is -1, expected a whole number, 0 or more",
        "timeout is 0, expected seconds, more than 0",
        "on_error is 'skip', expected one of raise, keep",
        "prices is (-1, 2), expected US dollars a million tokens of prompts and of answers, e.g. (0.15, 0.6)",
        "model is '', expected its name on the server",
        "base_url is not like http://localhost:8000/v1, without password, query or fragment (not shown: it may hold a key)",
        "api_key_env is not the name of an environment variable (it is not shown: it may be a key)",
        "request has stream, which llm_judge sets itself",
        "scale is (3, 0), expected the lowest and the highest grade, whole numbers from 0, e.g. (0, 3)",
    )


BAD = {
    "how": ({"how": "setwise"}, PipelineError, "how is 'setwise', expected one of graded, yes_no, listwise"),
    "window": ({"how": "listwise", "window": 10, "step": 10}, PipelineError, "window is 10 and step 10, expected whole numbers"),
    "scale": ({"scale": (0, 10)}, PipelineError, "the built-in prompt explains 0 to 3"),
    "prompt": ({"prompt": "/no/such.txt"}, MissingError, "there is no file /no/such.txt"),
    "request": ({"request": {"stop": {1}}}, PipelineError, "request cannot be sent as JSON"),
    "three grades": ({"scale": (0, 1, 2)}, PipelineError, "scale is (0, 1, 2), expected the lowest and the highest grade"),
    "how, a list": ({"how": ["graded"]}, PipelineError, "how is ['graded'], expected one of"),
    "NaN": ({"request": {"top_p": math.nan}}, PipelineError, "request cannot be sent as JSON"),
    "no mapping": ({"request": [1]}, PipelineError, "request cannot be sent as JSON"),
    "text": ({"request": '{"top_p": 1}'}, PipelineError, "request cannot be sent as JSON"),
    "NUL": ({"prompt": "a\0b"}, MissingError, "embedded null byte"),
    "prices as a dict": ({"prices": {"in": 1, "out": 2}}, PipelineError, "prices is {'in': 1, 'out': 2}, expected US dollars"),
    "prices in words": ({"prices": ("a", "b")}, PipelineError, "prices is ('a', 'b'), expected US dollars"),
    "no window": ({"how": "listwise", "window": None}, PipelineError, "window is None and step 10, expected whole numbers"),
    "one price": ({"prices": (1,)}, PipelineError, "prices is (1,), expected US dollars a million tokens"),
    "a name": ({"prices": "gold"}, PipelineError, "prices is 'gold', expected US dollars"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused_at_once(case: str) -> None:
    """Before any call."""
    options, kind, words = BAD[case]
    with pytest.raises(kind, match=re.escape(words)):
        judge(**options)


def test_options_of_other_modes_are_not_checked() -> None:
    """A window that is not above the default step, and any scale, where the mode does not read them."""
    assert judge(how="graded", window=5).window == 5
    assert judge(how="yes_no", window=5, scale=(0, 10)).scale == (0, 10)
    assert judge(how="listwise", scale=(0, 0)).scale == (0, 0)


def test_all_options_of_a_wrong_type_are_named_at_once() -> None:
    """None of them raises a TypeError."""
    wrong = {
        "max_words": True,
        "timeout": "60",
        "seed": "x",
        "model": 5,
        "instruction": None,
        "text_field": None,
        "base_url": 5,
        "api_key_env": 5,
        "prices": 5,
        "on_error": 5,
        "prompt": 5,
        "scale": 3,
    }
    with pytest.raises(PipelineError) as error:
        llm_judge(**wrong)
    assert {problem.split(" is ")[0] for problem in error.value.problems} == set(wrong)


def test_a_prompt_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """The error names the file and the reason."""
    (tmp_path / "p").write_bytes(b"\xff\xfe")
    with pytest.raises(MissingError, match="p: not UTF-8"):
        judge(prompt=tmp_path / "p")


@given(st.text(), st.integers(1, 5))
def test_a_cut_text_is_the_beginning(text: str, words: int) -> None:
    """A prefix with at most so many words and ten times as many characters."""
    made = cut_text(text, words)
    assert text.startswith(made)
    assert len(made.split()) <= words
    assert made.split() == text[: 10 * words].split()[:words]


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_documents_cannot_pass_for_others(texts: list[str]) -> None:
    """Each has one line, and only its own number in brackets."""
    lines = number_documents(texts).split("\n")
    assert [re.findall(r"\[\d+\]", line) for line in lines] == [[f"[{n}]"] for n in range(1, len(texts) + 1)]


# what is sent


def test_the_body_of_a_pointwise_call(server: ScriptedServer) -> None:
    """Golden: model, one message, temperature 0, seed, the limit; braces and brackets of the document are unchanged."""
    server.do(lambda _: chat("2"))
    judge(server, max_words=3).transform(results(["a {query} [3]\nb c"]))
    body = server.calls[0].body
    assert {name: value for name, value in body.items() if name != "messages"} == {
        "model": "toy",
        "temperature": 0,
        "seed": 0,
        "max_tokens": 16,
    }
    assert body["messages"] == [{"role": "user", "content": body["messages"][0]["content"]}]
    assert "\nQuery: heat flow\n\nDocument: a {query} [3]\n\n" in server.calls[0].prompt


def test_further_fields_are_sent_or_left_out(server: ScriptedServer) -> None:
    """Fields of ``request`` replace the defaults; None leaves a field out."""
    server.do(lambda _: chat("2"))
    request = {"temperature": None, "chat_template_kwargs": {"enable_thinking": False}, "max_tokens": 99}
    judge(server, request=request, seed=None).transform(results(["a"]))
    sent = {name: value for name, value in server.calls[0].body.items() if name not in ("messages", "model")}
    assert sent == {"chat_template_kwargs": {"enable_thinking": False}, "max_tokens": 99}


def test_instructions_reach_the_prompt(server: ScriptedServer) -> None:
    """The stage's instruction comes first, the topic's on the line below; without one there is no empty line."""
    frame = pd.concat([results(["a"], qid="1"), results(["b"], qid="2"), results(["c"], qid="3")], ignore_index=True)
    server.do(lambda _: chat("2"))
    judge(server, instruction="Only laws.", concurrency=1).transform(frame.assign(instruction=["Of Kenya.", None, ""]))
    said = [call.prompt.split("can be trusted.\n")[1].split("\nQuery:")[0] for call in server.calls]
    assert said == ["Only laws.\nOf Kenya.", "Only laws.", "Only laws."]
    server.do(lambda _: chat("2"))
    judge(server).transform(frame)
    assert "can be trusted.\nQuery: heat flow\n" in server.calls[0].prompt


def test_an_instruction_without_a_field_in_the_prompt_is_refused(tmp_path: Path) -> None:
    """Whether it comes as an argument or with the topics."""
    (tmp_path / "p").write_text("{query} {document}", encoding="utf-8")
    with pytest.raises(PipelineError, match=r"prompt p has no field \{instruction}"):
        judge(prompt=tmp_path / "p", instruction="any")
    with pytest.raises(PipelineError, match=r"cannot pass on the column instruction: prompt p has no field \{instruction}"):
        judge(prompt=tmp_path / "p").transform(results(["a"]).assign(instruction="any"))


FRAMES = {
    "instruction": ({"instruction": [1, 2]}, "instruction is not text in 2 of 2 rows (qid 'q', docno 'd0', instruction 1;"),
    "two queries": ({"query": ["a", "b"]}, "qid has more than one query in 1 of 2 rows (qid 'q', docno 'd1')"),
    "two instructions": ({"instruction": ["a", "b"]}, "qid has more than one instruction in 1 of 2 rows"),
    "no qid": ({"qid": ["q", None]}, "qid is missing in 1 of 2 rows"),
    "rank in words": ({"rank": ["first", "2"]}, "rank is not a number in 2 of 2 rows (qid 'q', docno 'd0', rank 'first';"),
    "no rank": ({"rank": [0, None]}, "rank is not a number in 1 of 2 rows (qid 'q', docno 'd1', rank nan)"),
    "text": ({"text": ["a", None]}, "text is missing or not text in 1 of 2 rows"),
}


@pytest.mark.parametrize("case", FRAMES)
def test_an_ambiguous_frame_is_refused(case: str) -> None:
    """Before any call; the error shows the first rows."""
    columns, words = FRAMES[case]
    with pytest.raises(FrameError, match=re.escape(words)):
        judge().transform(results(["a", "b"]).assign(**columns))


@pytest.mark.parametrize("column", ["text", "query", "qid", "rank", "instruction"])
def test_a_column_that_stands_twice_is_refused(column: str) -> None:
    """The error names the column."""
    twice = results(["a", "b"], [0, 1]).assign(instruction="any")
    with pytest.raises(FrameError, match=rf"repeated columns: {column}, expected"):
        judge().transform(pd.concat([twice, twice[[column]]], axis=1))


@given(st.permutations(range(6)), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_queries_are_the_frame_in_order_of_rank(rows: list[int], ranks: list[int]) -> None:
    """Queries by first appearance, documents by rank and then by row: equal to a sort in pandas."""
    frame = pd.DataFrame({"qid": [f"q{n % 2}" for n in rows], "docno": [f"d{n}" for n in rows], "text": [f"t{n}" for n in rows]})
    frame = frame.assign(query="q", rank=ranks)
    cases = read_queries(frame, "text", "")
    assert [case.qid for case in cases] == list(dict.fromkeys(frame["qid"]))
    for case in cases:
        own = frame[frame["qid"] == case.qid].sort_values("rank", kind="stable")
        assert list(case.texts) == own["text"].tolist()
        assert frame.iloc[case.rows]["docno"].tolist() == own["docno"].tolist()


# ways of judging


def test_grades_are_scores_and_ties_keep_the_input_order(server: ScriptedServer) -> None:
    """Golden by hand: equal grades in order of the input ranks; without ranks in row order."""
    server.do(lambda call: chat(call.prompt.split("Document: ")[1][0]))
    out = judge(server).transform(results(["1", "2", "1", "2"], ranks=[3, 2, 1, 0]))
    assert out["score"].tolist() == [1.0, 2.0, 1.0, 2.0]
    assert out["rank"].tolist() == [3, 1, 2, 0]
    assert judge(server).transform(results(["1", "2", "1", "2"]))["rank"].tolist() == [2, 0, 3, 1]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(5)), st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_ties_are_broken_by_a_rule_of_replay(server: ScriptedServer, ranks: list[int], grades: list[int]) -> None:
    """For any ranks and grades the tie rule is one that a score table replays."""
    server.do(lambda call: chat(call.prompt.split("Document: ")[1][0]))
    frame = results([f"{grade} {n}" for n, grade in enumerate(grades)], ranks=list(ranks))
    stage = Stage("s", (judge(server),), documents="reranks")
    step = next(walk((stage,), frame))
    assert TieRule("given", "rank") in narrow_rules(EVERY_RULE, step.given, step.ranked)


PARTS = {
    "text": ([{"type": "text", "text": "2"}], 2.0),
    "no type": ([{"text": "2"}], 2.0),
    "a thought first": ([{"type": "reasoning", "text": "1? "}, {"type": "output_text", "text": "3"}], 3.0),
    "a thought in parts": ([{"type": "thinking", "thinking": [{"type": "text", "text": "1"}]}, {"type": "text", "text": "3"}], 3.0),
}


@pytest.mark.parametrize("case", PARTS)
def test_of_an_answer_in_parts_only_text_is_read(server: ScriptedServer, case: str) -> None:
    """Reasoning parts of a message are not read."""
    parts, grade = PARTS[case]
    server.do(lambda _: chat(parts))
    out = judge(server).transform(results(["a"]))
    assert (out.loc[0, "score"], out.loc[0, "llm_repaired"]) == (grade, 0)


def test_tokens_are_whole_numbers() -> None:
    """Golden by hand: 12.0 is 12; True, 1.5 and others are NaN."""
    for sent, read in ((12.0, 12), (True, None), (1.5, None), (-1, None), ("3", None), (0, None)):
        body = {"choices": [{"message": {"content": "2"}}], "usage": {"prompt_tokens": sent}}
        np.testing.assert_equal(read_response(body).tokens[0], np.nan if read is None else read)


def _say(odds: dict[str, float]) -> Reply:
    return chat(next(iter(odds)), places=[odds])


def test_log_probabilities_make_the_score(server: ScriptedServer) -> None:
    """They are requested, and the score is their difference; without them it is 100 or -100, and a warning says so."""
    odds = {"a": {"Yes": -0.1, "No": -3.1}, "b": {"No": -0.25, " no": -9.0, "Yes": -1.25}}
    server.do(lambda call: _say(odds[call.prompt.split("Document: ")[1][0]]))
    out = judge(server, how="yes_no").transform(results(["a", "b"]))
    no = np.logaddexp(-0.25, -9.0)
    assert out["score"].tolist() == [pytest.approx(3.0), pytest.approx(-1.25 - no)]
    assert (server.calls[0].body["logprobs"], server.calls[0].body["top_logprobs"]) == (True, 20)
    assert out["llm_repaired"].tolist() == [0, 0]
    server.do(lambda _: chat("No"))
    said = r"^llm_judge: 2 answers had no log-probabilities, so their score is 100 or -100; see"
    with pytest.warns(CascadeWarning, match=said):
        out = judge(server, how="yes_no").transform(results(["a", "b"]))
    assert out[["score", "llm_no_logprobs", "llm_repaired"]].to_numpy().tolist() == [[-100.0, 2, 0]] * 2


@given(st.integers(0, 200), st.integers(2, 30), st.data())
def test_windows_cover_the_list_from_the_bottom(n: int, window: int, data: st.DataObject) -> None:
    """Each is full but the topmost, and overlaps the one below; there is none for a single document."""
    step = data.draw(st.integers(1, window - 1))
    made = [(part.start, part.stop) for part in slide(n, window, step)]
    assert (made == []) == (n < 2)
    if made:
        assert (made[0][1], made[-1][0]) == (n, 0)
        assert all(stop - start == window for start, stop in made[:-1])
        assert all(lower[0] - upper[0] <= step < window and upper[1] > lower[0] for lower, upper in pairwise(made))


def test_windows_are_those_of_the_published_runs() -> None:
    """Golden: RankLLM's windows over 100 documents, as in the published answers."""
    starts = [part.start for part in slide(100, 20, 10)]
    assert starts == [80, 70, 60, 50, 40, 30, 20, 10, 0]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(9)), st.integers(2, 6), st.data())
def test_a_perfect_judge_brings_the_best_to_the_top(
    server: ScriptedServer, order: list[int], window: int, data: st.DataObject
) -> None:
    """The best ``window - step`` documents come first, in order; scores are 1/rank."""
    step = data.draw(st.integers(1, window - 1))
    server.do(sort_by_number)
    out = judge(server, how="listwise", window=window, step=step).transform(results([str(n) for n in order], list(range(9))))
    best = out.sort_values("rank")["text"].tolist()[: window - step]
    assert best == [str(8 - n) for n in range(window - step)]
    assert out["score"].tolist() == (1 / (out["rank"] + 1)).tolist()
    assert out["llm_calls"].unique().tolist() == [len(list(slide(9, window, step)))]


def test_a_window_goes_after_the_one_below_it(server: ScriptedServer) -> None:
    """Golden by hand: 3 documents, window 2, step 1; the second call has the best document of the first."""
    server.do(sort_by_number)
    out = judge(server, how="listwise", window=2, step=1).transform(results(["1", "2", "3"], [0, 1, 2]))
    assert [re.findall(r"^\[\d\] (\d)$", call.prompt, re.MULTILINE) for call in server.calls] == [["2", "3"], ["1", "3"]]
    assert out["rank"].tolist() == [1, 2, 0]


def test_one_document_needs_no_call(server: ScriptedServer) -> None:
    """Its score is 1."""
    server.do(lambda _: chat("[1]"))
    out = judge(server, how="listwise").transform(results(["a"]))
    assert (len(server.calls), out.loc[0, "score"], out.loc[0, "llm_calls"]) == (0, 1.0, 0)


# accounts


REPAIRS = {
    "malformed": ("graded", chat("Grade: 2"), 2.0, {"llm_malformed"}),
    "overlong": ("graded", chat("2", finish="length"), 2.0, {"llm_overlong"}),
    "overlong, with a cut": ("listwise", chat("[2] > [1] > [", finish="length"), 0.5, {"llm_overlong", "llm_malformed"}),
    "partial": ("listwise", chat("[2]"), 0.5, {"llm_partial"}),
    "repeated": ("listwise", chat("[2] > [2] > [1]"), 0.5, {"llm_repeated"}),
}


@pytest.mark.parametrize("case", REPAIRS)
def test_each_repair_is_counted_and_warned_of(server: ScriptedServer, case: str) -> None:
    """In its own column on the rows of its query, once in ``llm_repaired``, in the warning, and in no other query."""
    how, reply, score, columns = REPAIRS[case]
    good = chat("3") if how == "graded" else chat("[1] > [2]")
    server.do(lambda call: reply if "bad" in call.prompt else good)
    texts = ["bad"] if how == "graded" else ["bad", "x"]
    frame = pd.concat([results(texts, qid="1"), results(["good", "y"], qid="2")], ignore_index=True)
    with pytest.warns(CascadeWarning, match=r"^llm_judge: 1 answer were repaired \(.*; see the columns llm_") as told:
        out = judge(server, how=how, on_error="raise").transform(frame)
    assert all(column.removeprefix("llm_") in str(told[0].message) for column in columns)
    assert out.loc[0, "score"] == score
    counted = {name for name in ACCOUNTS[5:] if (out.loc[out["qid"] == "1", name] == 1).all()}
    assert counted == {"llm_repaired", *columns}
    assert (out.loc[out["qid"] == "2", list(ACCOUNTS[5:])] == 0).all(axis=None)
    assert not out["llm_failed"].any()


def test_tokens_and_dollars_are_the_servers_count(server: ScriptedServer) -> None:
    """Golden by hand: 3 + 2 documents at 1000 and 2 tokens, 0.5 and 4 dollars a million."""
    server.do(lambda _: chat("1", usage=(1000, 2)))
    frame = pd.concat([results(["a", "b", "c"], qid="1"), results(["d", "e"], qid="2")], ignore_index=True)
    out = judge(server, prices=(0.5, 4)).transform(frame)
    assert out["llm_calls"].tolist() == [3, 3, 3, 2, 2]
    assert out["llm_tokens_in"].tolist() == [3000.0] * 3 + [2000.0] * 2
    assert out["llm_tokens_out"].tolist() == [6.0] * 3 + [4.0] * 2
    assert out["llm_usd"].tolist() == pytest.approx([1524e-6] * 3 + [1016e-6] * 2)
    assert judge(server).transform(frame)["llm_usd"].isna().all()


def test_the_trace_has_the_counts(server: ScriptedServer) -> None:
    """One row a stage and query: sums are the server's, other stages have NaN, queries without documents 0."""
    server.do(lambda _: chat("1", usage=(1000, 2)))
    asked = pd.concat([topics(3), pd.DataFrame({"qid": ["none"], "query": ["nothing"]})])
    pipeline = ToyRetriever(docs=6) % 3 >> pt.apply.text(lambda row: row["qid"] + row["docno"]) >> judge(server, prices=(1, 1)) % 2
    trace = run(pipeline >> ToyReranker(), asked, query_batch_size=2).trace
    assert list(trace.columns[:7]) == ["stage", "qid", "docs_in", "docs_out", "pairs", "ms", "shared_by"]
    assert set(trace.columns[7:]) == {*ACCOUNTS, "unscored", "error"}
    own = trace[trace["stage"] == "llm_judge"]
    assert own["llm_calls"].tolist() == own["pairs"].tolist() == [3, 3, 3, 0]
    assert own["llm_usd"].sum() == pytest.approx(len(server.calls) * 1002e-6)
    assert trace.loc[trace["stage"] != "llm_judge", list(ACCOUNTS)].isna().all(axis=None)
    assert (own["llm_failures"] == 0).all()


def test_a_trace_without_judges_has_no_such_columns() -> None:
    """It has nine columns."""
    assert len(run(ToyRetriever() % 3 >> ToyReranker(), topics(2)).trace.columns) == 9


# a stage among others


@pytest.mark.parametrize("how", WAYS)
def test_no_rows_need_no_server(how: str) -> None:
    """An empty frame gives an empty frame with all columns and types, as PyTerrier's inspection needs."""
    stage = judge(how=how, text_field="body")
    out = stage.transform(pd.DataFrame({"qid": [], "query": [], "docno": [], "body": [], "url": []}, dtype=str))
    assert list(out.columns) == ["qid", "query", "docno", "body", "url", "score", "rank", "llm_failed", *ACCOUNTS]
    assert (out["score"].dtype, out["rank"].dtype, out["llm_calls"].dtype, out["llm_failed"].dtype) == (float, int, int, bool)
    assert pt.inspect.transformer_inputs(stage) == [["qid", "docno", "query", "body"]]
    assert pt.inspect.transformer_outputs(stage, ["qid", "docno", "query", "body"])[-1] == "llm_failures"
    assert pt.inspect.transformer_apply_attributes(stage, max_words=9) == judge(how=how, text_field="body", max_words=9)
    assert pt.schematic.transformer_schematic(stage)["label"] == "LLM judge"


def test_a_cascade_knows_what_a_judge_depends_on() -> None:
    """A judge is pointwise or listwise, reranks, and has a name."""
    for how, depends in (("graded", "pointwise"), ("yes_no", "pointwise"), ("listwise", "listwise")):
        stage = Cascade.of(ToyRetriever() % 5 >> pt.apply.text(lambda _: "t") >> judge(how=how) % 3)[1]
        known = look_up(stage.transformers[-1])
        assert (stage.name, known.depends, stage.documents) == ("llm_judge", depends, "reranks")
        assert (stage.transformers[-1].failed_column, stage.transformers[-1].accounts) == ("llm_failed", ACCOUNTS)


def test_stored_scores_depend_on_the_instruction() -> None:
    """``reads`` names the text and the topic's instruction."""
    assert judge(text_field="body").reads() == ["body", "instruction"]


def test_rows_and_columns_stay_as_they_were(server: ScriptedServer) -> None:
    """Rows, order, index and other columns are kept, also with interleaved queries; the input is unchanged."""
    server.do(lambda _: chat("1"))
    frame = pd.concat([results(["a", "b"], qid="1"), results(["c", "d"], qid="2")]).iloc[[2, 0, 3, 1]].assign(url="u", score=7.0)
    before = frame.copy(deep=True)
    out = judge(server).transform(frame)
    pd.testing.assert_frame_equal(frame, before)
    kept = ["qid", "query", "docno", "text", "url"]
    pd.testing.assert_frame_equal(out[kept], before[kept])
    assert out["rank"].tolist() == [0, 0, 1, 1]


def test_a_score_is_that_of_the_transform(server: ScriptedServer) -> None:
    """``score`` gives the column of ``transform``."""
    server.do(lambda call: chat(call.prompt.split("Document: ")[1][0]))
    frame = results(["1", "3", "2"])
    assert judge(server).score(frame).tolist() == judge(server).transform(frame)["score"].tolist() == [1.0, 3.0, 2.0]


def test_a_pickle_carries_the_arguments_alone(server: ScriptedServer) -> None:
    """A copy is equal, and makes its own calls."""
    server.do(lambda _: chat("1"))
    stage = judge(server)
    stage.transform(results(["a"]))
    copy = pickle.loads(pickle.dumps(stage))  # noqa: S301 - our own
    assert copy == stage
    assert "_state" not in vars(copy)
    assert copy.transform(results(["a"]))["score"].tolist() == [1.0]


def test_the_server_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENAI_BASE_URL is used unless there is an argument."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1/")
    assert llm_judge("toy").base_url == "http://elsewhere/v1"
    assert llm_judge("toy", base_url=NOWHERE).base_url == NOWHERE


def test_a_progress_bar_is_shown_if_verbose(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    """One step a document."""
    server.do(lambda _: chat("1"))
    judge(server).transform(results(["a", "b"]))
    assert capsys.readouterr().err == ""
    judge(server, verbose=True).transform(results(["a", "b"]))
    assert "2/2" in capsys.readouterr().err


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.just(10**400) | st.sampled_from(["Yes", "stop", "length", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "usage", "prompt_tokens", "logprobs", "top_logprobs", "token", "logprob", "text"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@given(value=JSON, framed=st.booleans())
def test_any_json_is_an_answer_or_an_error(value: object, *, framed: bool) -> None:
    """For any JSON: an answer of the right types, or an error."""
    logprobs = {"content": value}
    choice = {"message": {"content": value, "refusal": value}, "finish_reason": value, "logprobs": logprobs}
    body = {"choices": [choice], "usage": value} if framed else {"choices": value, "error": value}
    answer = read_response(body)
    assert not (answer.error and framed)
    assert isinstance(answer.text, str)
    assert all(isinstance(token, str) and math.isfinite(odds) for place in answer.logprobs for token, odds in place)
    assert all(math.isnan(count) or 0 <= count < 2**53 for count in answer.tokens)


def test_an_error_of_a_judge_is_a_cascade_error(server: ScriptedServer) -> None:
    """In a cascade as well, with the server's words."""
    server.do(lambda _: Reply(404, b'{"error": {"message": "no model toy"}}'))
    pipeline = ToyRetriever() % 3 >> pt.apply.text(lambda _: "t") >> judge(server)
    with pytest.raises(CascadeError, match="404: no model toy"):
        run(pipeline, topics(2))
