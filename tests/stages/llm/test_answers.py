"""Reads answers of language models: any text gives an order, a grade or log-odds, and each fault has a name."""

from __future__ import annotations

import gzip
import json
import math
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import shared
from hypothesis import given
from hypothesis import strategies as st
from toys.llm_servers import chat, scripted

from pt_cascade.errors import CascadeWarning
from pt_cascade.stages.llm.answers import SURE, Alternatives, read_grade, read_verdict, take_answer
from pt_cascade.stages.llm.lists import read_list
from pt_cascade.stages.llm_judge import llm_judge
from pt_cascade.trec import read_run

BITS = [*"[]0123²٣.\n", " > ", "[1]", "[2]", "[3]", "20", "-1", "2.0", "2.5", "9" * 5000, "\ud800", "<think>", "</think>"]
BITS += ["[THINK]", "[/THINK]", "analysis", "assistantfinal", "1. ", "documents", "{", "}", '"id": ']
BITS += ["score: ", "grade", "relevance is ", "/3", "out of 3", "yes", "No", "no.", "not"]
ANSWERS = st.one_of(st.text(), st.lists(st.sampled_from(BITS), max_size=12).map("".join))


@pytest.fixture(scope="session")
def llm_windows() -> list[dict[str, object]]:
    """1,161 answers of three LLMs to listwise prompts, with their windows."""
    file = shared("PT_CASCADE_DATA", "data", "llm_windows") / "responses.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _orders(file: Path) -> dict[str, list[str]]:
    run = read_run(file).sort_values("rank")
    return {str(qid): docs["docno"].tolist() for qid, docs in run.groupby("qid")}


def test_real_answers_give_the_published_runs(llm_windows: list[dict[str, object]], dl19_folder: Path) -> None:
    """Golden: the 1,161 answers, read in file order, give RankLLM's runs of three LLMs over 43 queries exactly."""
    first = _orders(dl19_folder / "runs" / "rankllm.bm25-pyserini.res.gz")
    made: dict[str, dict[str, list[str]]] = {}
    for row in llm_windows:
        order = made.setdefault(row["run"], {}).setdefault(row["qid"], list(first[row["qid"]]))
        window = slice(row["start"], row["end"])
        docs = order[window]
        order[window] = [docs[place] for place in read_list(row["response"], len(docs)).order]
    assert sum(map(len, made.values())) == 3 * 43
    for name, orders in made.items():
        assert orders == _orders(dl19_folder / "runs" / f"{name}.res.gz"), name


def test_the_stage_itself_makes_the_published_runs(llm_windows: list[dict[str, object]], dl19_folder: Path) -> None:
    """Golden: a server that sends Vicuna 7B's answers gives its run, and every repair is counted."""
    name = "rankllm.bm25-pyserini.vicuna7b-zs.k100.1"
    runs = {run: read_run(dl19_folder / "runs" / f"{run}.res.gz") for run in ("rankllm.bm25-pyserini", name)}
    answers: dict[str, list[str]] = {}
    for row in llm_windows:
        if row["run"] == name:
            answers.setdefault(row["qid"], []).append(row["response"])
    first = runs["rankllm.bm25-pyserini"]
    with scripted() as server:
        server.do(lambda call: chat(answers[call.prompt.split("Query: ")[1].split()[0]].pop(0)))
        stage = llm_judge("vicuna", how="listwise", base_url=server.url, api_key_env=None, on_error="keep")
        with pytest.warns(CascadeWarning, match=r"3 judgments missing.* repaired: 378 answers"):
            out = stage.transform(first.assign(query=first["qid"], text=first["docno"]))
    wanted = runs[name].set_index(["qid", "docno"])["rank"]
    assert out.set_index(["qid", "docno"])["rank"].loc[wanted.index].tolist() == wanted.tolist()
    assert out.drop_duplicates("qid")[["llm_calls", "llm_repaired", "llm_unread"]].sum().tolist() == [387, 378, 3]


def test_repairs_of_the_published_answers_are_counted(llm_windows: list[dict[str, object]]) -> None:
    """Golden counts of a script that does not use the parser: 936 of 1,161 answers need a repair."""
    readings = [read_list(row["response"], row["end"] - row["start"]) for row in llm_windows]
    faults = Counter(fault for reading in readings for fault in reading.faults - {"unread"})
    assert faults == {"malformed": 771, "partial": 442, "repeated": 533}
    assert sum(not reading.faults for reading in readings) == 225


@given(st.integers(1, 30).flatmap(lambda n: st.permutations(range(n))))
def test_an_order_in_the_form_asked_for_is_read_without_repair(order: list[int]) -> None:
    """An order that is written and read is the same order, without faults."""
    reading = read_list(" > ".join(f"[{place + 1}]" for place in order), len(order))
    assert (list(reading.order), reading.faults) == (order, frozenset())


LISTS = {
    "in form": ("[2] > [1] > [3]", False, (1, 0, 2), set()),
    "a missing bracket": ("2] > [1] > [3]", False, (1, 0, 2), {"malformed"}),
    "prose": ("Here: [3] > [1] > [2].", False, (2, 0, 1), {"malformed"}),
    "partial": ("[3]", False, (2, 0, 1), {"partial"}),
    "repeated": ("[3] > [3] > [1] > [2]", False, (2, 0, 1), {"repeated"}),
    "out of range": ("[7] > [2] > [0] > [1] > [3]", False, (1, 0, 2), {"malformed"}),
    "refusal": ("I'm sorry, but I can't help with that.", False, (0, 1, 2), {"malformed", "unread"}),
    "empty": ("", False, (0, 1, 2), {"malformed", "unread"}),
    "a thought": ("<think>[1] first?</think>\n[3] > [2] > [1]", False, (2, 1, 0), set()),
    "only a thought": ("<think>[3] > [2] > [1] or", False, (0, 1, 2), {"malformed", "unread"}),
    "behind words": ("Here are the 3 documents: [2] > [1] > [3]", False, (1, 0, 2), {"malformed"}),
    "behind words, partial": ("Here are the 3 documents: [2] > [1]", False, (1, 0, 2), {"malformed", "partial"}),
    "behind words with numbers": ("The top 2 of 3: [3]>[1] > [2]\n(3 first)", False, (2, 0, 1), {"malformed"}),
    "behind words, without brackets": ("The top 3 documents are 2, 1, 3", False, (1, 0, 2), {"malformed"}),
    "alone": ("[2] > [1] > [3]", False, (1, 0, 2), set()),
    "behind a number, as published": ("1. [3] > [1] > [2]", False, (0, 2, 1), {"malformed", "repeated"}),
    "a numbered list": ("1. [3]\n2. [1]\n3. [2]", False, (2, 0, 1), {"malformed"}),
    "a numbered list of two": ("1. [3]\n2. [1]", False, (2, 0, 1), {"malformed", "partial"}),
    "a numbered list with words": (
        "Ranking:\n\n1) Document 3: 2 reasons\n2) Document 1",
        False,
        (2, 0, 1),
        {"malformed", "partial"},
    ),
    "a numbered list in bold": ("**1.** [3]\n**2.** [2]\n**3.** [1]", False, (2, 1, 0), {"malformed"}),
    "a numbered list in one line": ("1. [3], 2. [1], 3. [2]", False, (2, 0, 1), {"malformed"}),
    "the same, without brackets": ("1) 3 2) 1 3) 2", False, (2, 0, 1), {"malformed"}),
    "the same, partial": ("1: 3, 2: 2", False, (2, 1, 0), {"malformed", "partial"}),
    "the same, in which no number comes twice": ("1. 3, 2. 4", False, (2, 0, 1), {"malformed", "partial"}),
    "a mark behind each": ("1) > 3) > 2)", False, (0, 2, 1), {"malformed"}),
    "an order from 1": ("1, 3, 2", False, (0, 2, 1), {"malformed"}),
    "a list with crosses": ("#1 [3]\n#2 [1]\n#3 [2]", False, (2, 0, 1), {"malformed"}),
    "two columns": ("1 [3]\n2 [1]\n3 [2]", False, (2, 0, 1), {"malformed"}),
    "two columns, without brackets": ("1 3\n2 1\n3 2", False, (2, 0, 1), {"malformed"}),
    "a table": ("| Rank | Doc |\n|---|---|\n| 1 | [3] |\n| 2 | [1] |\n| 3 | [2] |", False, (2, 0, 1), {"malformed"}),
    "a table without brackets": ("| Rank | Doc |\n|1|3|\n|2|1|\n|3|2|", False, (2, 0, 1), {"malformed"}),
    "pairs of names": (
        "Rank: 1, Document: [3]\nRank: 2, Document: [1]\nRank: 3, Document: [2]",
        False,
        (2, 0, 1),
        {"malformed"},
    ),
    "a number of the text in a line": ("1. In 2 cases, [3]\n2. The one [1]\n3. [2]", False, (2, 0, 1), {"malformed"}),
    "a number between brackets": ("Ranking: [3] > 1 > [2]", False, (2, 0, 1), {"malformed"}),
    "a number before brackets": ("Ranking: 3 > [1] > [2]", False, (2, 0, 1), {"malformed"}),
    "one pair of brackets": ("The 3 documents in order: [3, 1, 2]", False, (2, 0, 1), {"malformed"}),
    "ordinals": ("1st: [3], 2nd: [1], 3rd: [2]", False, (2, 0, 1), {"malformed"}),
    "a headline": ("Top-3: [2] > [3] > [1]", False, (1, 2, 0), {"malformed"}),
    "ranks": ("Rank 1: [3]\nRank 2: [1]", False, (2, 0, 1), {"malformed", "partial"}),
    "a numbered list of texts": ("1. the flow\n2. the heat\n3. a body", False, (0, 1, 2), {"malformed", "unread"}),
    "in bold": ("**[2]** > **[1]** > **[3]**", False, (1, 0, 2), {"malformed"}),
    "with scores": ("[2] (0.93), [1] (0.3), [3] (0.1)", False, (1, 0, 2), {"malformed"}),
    "by name": ("Document 3 > Document 1 > Document 2", False, (2, 0, 1), {"malformed"}),
    "JSON": ('```json\n{"ranking": [2, 1, 3]}\n```', False, (1, 0, 2), {"malformed"}),
    "JSON of texts": ('{"reason": "2 is best", "ranking": ["[2]", "1"]}', False, (1, 0, 2), {"malformed", "partial"}),
    "JSON of objects": ('[{"id": 2, "score": 3}, {"id": 1, "score": 3}]', False, (0, 1, 2), {"malformed", "unread"}),
    "JSON of which nobody knows the sense": ('{"1": 3, "2": 1, "3": 2}', False, (0, 1, 2), {"malformed", "unread"}),
    "JSON, its lines numbered": ('["Rank 1: Document 3", "Rank 2: Document 1"]', False, (0, 1, 2), {"malformed", "unread"}),
    "JSON, its items numbered": ('["1. [3]", "2. [1]", "3. [2]"]', False, (0, 1, 2), {"malformed", "unread"}),
    "Arabic and wide digits": ("[\u0663] > \uff3b\uff11\uff3d > [2]", False, (2, 0, 1), set()),
    "no list": ("The 3 documents are all relevant.", False, (2, 0, 1), {"malformed", "unread", "partial"}),
    "a refusal": ("I cannot rank these 3 documents.", False, (2, 0, 1), {"malformed", "unread", "partial"}),
    "cut in a number": ("[3] > [1", True, (2, 0, 1), {"malformed", "unread", "partial", "overlong"}),
    "cut at a number": ("[3] > 2", True, (2, 0, 1), {"malformed", "unread", "partial", "overlong"}),
    "cut behind the list": ("[2] > [1] > [3]\n\nThe first", True, (1, 0, 2), {"malformed", "overlong"}),
    "not cut": ("[3] > [2", False, (2, 1, 0), {"malformed", "partial"}),
}


@pytest.mark.parametrize("case", LISTS)
def test_numbers_around_a_list_are_not_the_list(case: str) -> None:
    """By hand: line numbers, numbers in words and half a number at a cut name no document."""
    text, cut, value, faults = LISTS[case]
    reading = read_list(text, 3, cut=cut)
    assert (reading.order, reading.faults) == (value, faults)


def test_no_published_answer_is_ordered_otherwise(llm_windows: list[dict[str, object]]) -> None:
    """Golden: the stage's parser gives the published order for all 1,161 answers.

    "20 passages are provided." is the usual answer of Vicuna 13B: RankLLM and the parser put document 20 first, but the parser
    marks the answer as unread.
    """
    assert len(llm_windows) == 1161
    unread = Counter()
    for row in llm_windows:
        n = row["end"] - row["start"]
        ours = read_list(row["response"], n)
        named = [int(number) - 1 for number in re.findall("[0-9]+", row["response"])]  # RankLLM's rule
        assert list(ours.order) == list(dict.fromkeys([*(place for place in named if 0 <= place < n), *range(n)]))
        unread["unread" in ours.faults, row["run"].split(".")[2]] += 1
    assert unread == {
        (False, "rankvicuna-ckpt800"): 387,
        (False, "vicuna7b-zs"): 384,
        (True, "vicuna7b-zs"): 3,
        (False, "vicuna13b-zs"): 3,
        (True, "vicuna13b-zs"): 384,
    }


@given(ANSWERS, st.integers(1, 25), st.booleans())
def test_any_answer_is_an_order_for_the_stage(text: str, n: int, cut: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    """The stage's parser gives a permutation for any text."""
    assert sorted(read_list(text, n, cut=cut).order) == list(range(n))


LONG = {
    "digits": "score " + "1" * 200_000 + "a1",
    "digits alone": "1" * 200_000 + "a",
    "names": "score1" * 50_000 + "x",
    "numbers": "0 " * 200_000,
    "dashes": "1-" * 200_000,
    "dashes and a letter": "1-" * 100_000 + "1x",
    "ranges and a letter": "1 to " * 50_000 + "1x",
    "spaces": "score" + " " * 400_000 + "x",
    "brackets": "[1] > " * 100_000,
    "finals": "final score " * 50_000,
    "clauses": ", yes, no, Yes or" * 30_000,
    "lines": "1. [2]\n" * 50_000,
    "marks": "<think>" * 30_000 + "<|channel|>" * 30_000 + "assistant " * 30_000,
    "analysis": " " * 100_000 + "analysis",
}


@pytest.mark.parametrize("case", LONG)
def test_long_answers_are_read_in_linear_time(case: str) -> None:
    """Adversarial answers of some 100,000 characters take seconds; quadratic time would be minutes."""
    begun = time.process_time()
    for read in (lambda text: read_grade(text, 0, 3), lambda text: read_list(text, 20, cut=True), read_verdict):
        read(LONG[case])
    assert time.process_time() - begun < 5


@given(ANSWERS, st.integers(0, 3), st.integers(1, 9))
def test_any_answer_is_a_grade_of_the_scale(text: str, lowest: int, more: int) -> None:
    """The grade is a whole number of the scale, or NaN if unread; an answer without faults is the grade alone."""
    reading = read_grade(text, lowest, lowest + more)
    assert math.isnan(reading.value) == ("unread" in reading.faults)
    assert math.isnan(reading.value) or (lowest <= reading.value <= lowest + more and reading.value.is_integer())
    if not reading.faults:
        assert int(take_answer(text) or "") == reading.value


@given(
    st.integers(0, 3),
    st.sampled_from(["{}", " {}\n", "##final score: {}", '{{"O": {}}}', "Grade: {}/3", "The score is: {} out of 3."]),
)
def test_a_grade_is_read_in_the_forms_that_judges_use(grade: int, form: str) -> None:
    """Golden forms: UMBRELA's ``##final score``, Thomas et al.'s JSON, and the usual phrases."""
    assert read_grade(form.format(grade), 0, 3).value == grade
    assert "unread" not in read_grade(form.format(grade), 0, 3).faults


GRADES = {
    "alone": ("2", 2, set()),
    "in words": ("The grade: 3, since it answers.", 3, {"malformed"}),
    "the one that is called final": ("score: 1? No. Final score: 2", 2, {"malformed"}),
    "the only number": ("I would say 2.", 2, {"malformed"}),
    "whole": ("2.0", 2, {"malformed"}),
    "between two": ("2.5", None, {"malformed", "unread"}),
    "outside": ("7", None, {"malformed", "unread"}),
    "below": ("score: -2", None, {"malformed", "unread"}),
    "the scale in brackets": ("Relevance score (0-3): 2", 2, {"malformed"}),
    "the scale with a dash": ("Grade (0\u20133): 3", 3, {"malformed"}),
    "the scale in words": ("On a relevance scale of 0 to 3: 2", 2, {"malformed"}),
    "the scale behind": ("Score: 2 (scale 0 - 3)", 2, {"malformed"}),
    "between": ("a score between 0 and 3: 1", 1, {"malformed"}),
    "the scale alone": ("Score (0-3):", None, {"malformed", "unread"}),
    "a range": ("relevance: 2-3", None, {"malformed", "unread"}),
    "a range in words": ("1 to 2", None, {"malformed", "unread"}),
    "a comma": ("score: 1,5", None, {"malformed", "unread"}),
    "a float": ("score: 1e0", None, {"malformed", "unread"}),
    "half a number": ("score: .5", None, {"malformed", "unread"}),
    "scores that differ": ("Score: 2\nTrustworthiness score: 3", None, {"malformed", "unread"}),
    "scores that agree": ("Score: 2\nTrustworthiness score: 2.0", 2, {"malformed"}),
    "final goes before": ("##final score: 2\nRelevance: 0 means irrelevant", 2, {"malformed"}),
    "finals that differ": ("final score: 2, overall grade: 3", None, {"malformed", "unread"}),
    "two numbers": ("1 or 2", None, {"malformed", "unread"}),
    "none": ("relevant", None, {"malformed", "unread"}),
    "after a thought": ("<think>3? 2?</think>1", 1, set()),
    "before a thought": ("2<reason>3 is too much</reason>", 2, set()),
    "between thoughts": ("<think>3?</think> 2 <reason>not 3</reason>", 2, set()),
    "in a thought": ("<think>3? 2?", None, {"malformed", "unread"}),
    "in bold": ("**Score: 2**", 2, {"malformed"}),
    "the first line": ("2\n\nThe document has 3 parts, of 1998.", 2, {"malformed"}),
    "the first line, in bold": ("**2**\nscore: 1 would be too low", 2, {"malformed"}),
    "in a sentence": ("The relevance grade is 2. It is of 1998.", 2, {"malformed"}),
    "a bold number": ("Score: **2**", 2, {"malformed"}),
    "JSON": ('```json\n{"score": 2, "confidence": 0.9}\n```', 2, {"malformed"}),
    "in a box": (r"\boxed{2}", 2, {"malformed"}),
    "Arabic": ("\u0662", 2, set()),
    "wide": ("Score\uff1a\uff12", 2, {"malformed"}),
    "a refusal": ("I cannot grade this.", None, {"malformed", "unread"}),
}


@pytest.mark.parametrize("case", GRADES)
def test_each_rule_of_a_grade(case: str) -> None:
    """By hand: the grade and the faults of each answer; several different numbers are unread."""
    text, value, faults = GRADES[case]
    reading = read_grade(text, 0, 3)
    assert (None if math.isnan(reading.value) else reading.value, reading.faults) == (value, faults)


@pytest.mark.parametrize(
    ("text", "value"), [("2", 2.0), ("I say: 2", None), ("Score: 2\nReason: it", None), ("The scale is 0 to 3, so 3", None)]
)
def test_a_grade_that_was_cut_off_counts_only_alone(text: str, value: float | None) -> None:
    """A number behind other text may be half a number, or not the last one."""
    reading = read_grade(text, 0, 3, cut=True)
    assert (None if math.isnan(reading.value) else reading.value) == value
    assert "overlong" in reading.faults


TOKENS = st.sampled_from(["Yes", " yes", "No", "NO", "The", "", "</think>"])
ODDS = st.floats(-(2.0**53), 2.0**53)
PLACES = st.lists(st.lists(st.tuples(TOKENS, ODDS), max_size=4).map(tuple), max_size=4)


@given(ANSWERS, PLACES, st.booleans())
def test_any_answer_has_finite_log_odds_or_none(
    text: str,
    places: list[tuple[tuple[str, float], ...]],
    cut: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    """For any text and log-probabilities the log-odds are within the limits, or unread."""
    reading = read_verdict(text, places, cut=cut)
    assert math.isnan(reading.value) == ("unread" in reading.faults)
    assert math.isnan(reading.value) or -SURE <= reading.value <= SURE


@given(st.floats(-30, 0), st.floats(-30, 0))
def test_log_odds_are_those_of_the_two_probabilities(yes: float, no: float) -> None:
    """Golden: the logit of p(yes) / (p(yes) + p(no)); its sign changes if yes and no are exchanged."""
    value = read_verdict("Yes", [(("Yes", yes), ("No", no))]).value
    p, q = math.exp(yes), math.exp(no)
    assert value == pytest.approx(math.log(p / (p + q)) - math.log(q / (p + q)), abs=1e-6)
    assert read_verdict("Yes", [(("Yes", no), ("No", yes))]).value == pytest.approx(-value)


LEFT = math.log(0.25)
VERDICTS = {
    "a bare yes": ("Yes", [], SURE, {"no_logprobs"}),
    "a bare no": (" no.", [], -SURE, {"no_logprobs"}),
    "in bold": ("**Yes**", [], SURE, {"no_logprobs"}),
    "the first word": ("No, yes", [], -SURE, {"malformed", "no_logprobs"}),
    "the last word": ("The answer is yes.", [], SURE, {"malformed", "no_logprobs"}),
    "named": ("Answer: No\nThe document is about yeast.", [], -SURE, {"malformed", "no_logprobs"}),
    "a clause": ("Based on the text, yes, it is.", [], SURE, {"malformed", "no_logprobs"}),
    "JSON": ('{"answer": "Yes", "reason": "there is no doubt"}', [], SURE, {"malformed", "no_logprobs"}),
    "both, each its own clause": ("Maybe: yes. Or: no.", [], None, {"malformed", "unread"}),
    "the question again": ("Yes or No: No", [], -SURE, {"malformed", "no_logprobs"}),
    "no as another word": ("There is no information on it in the text", [], None, {"malformed", "unread"}),
    "a refusal": ("I'm sorry, but there is no way to say that here", [], None, {"malformed", "unread"}),
    "neither": ("Perhaps", [], None, {"malformed", "unread"}),
    "another word": ("Nothing, yesterday", [], None, {"malformed", "unread"}),
    "spellings add up": ("Yes", [[("Yes", LEFT), (" yes", LEFT), ("No", math.log(0.125))]], math.log(4), set()),
    "not listed": ("Yes", [[("Yes", -0.5), ("The", -3.0), ("A", -4.0)]], 3.5, set()),
    "the place where it stands": (
        "It is no",
        [[("It", -0.1), ("Yes", -2.0)], [(" is", -0.1)], [(" no", -0.5), (" yes", -1.5)]],
        -1.0,
        {"malformed"},
    ),
    "behind a mark": ("**Yes**", [[("**", 0.0)], [("Yes", -0.5), ("No", -1.0)], [("**", 0.0)]], 0.5, set()),
    "else where it might": ("It is", [[("It", -0.1), ("Yes", -2.0), ("No", -5.0)], [(" is", -0.1)]], 3.0, {"malformed"}),
    "not where it could not": ("It is", [[("It", -0.1)], [(" is", -0.1), (" no", -3.0)]], None, {"malformed", "unread"}),
    "after a thought": ("<think>no</think>Yes", [[("no", -0.1)], [("</think>", 0.0)], [("Yes", -0.5), ("No", -1.0)]], 0.5, set()),
    "a thought without end": ("<think>Yes", [[("<think>", 0.0)], [("Yes", -0.5), ("No", -1.0)]], None, {"malformed", "unread"}),
    "a stripped thought": ("Yes", [[("Hm", -0.1)], [(" no", -0.1), (" yes", -4.0)], [("Yes", -0.5), ("No", -1.0)]], 0.5, set()),
    "a thought whose end is stripped": ("Yes", [[(" no", -0.1)], [("</think>", 0.0)], [("Yes", -0.5), ("No", -1.0)]], 0.5, set()),
    "the end of the answer": ("Yes", [[("Yes", -0.5), ("No", -1.0)], [("<|im_end|>", 0.0)], [("", 0.0)]], 0.5, set()),
    "tokens of another text": ("Yes", [[(" no", -0.1), (" yes", -4.0)]], SURE, {"no_logprobs"}),
    "half of the tokens": ("No, I think", [[("No", -0.1), ("Yes", -4.0)], [(",", -0.1)]], -SURE, {"malformed", "no_logprobs"}),
    "only a yes": ("Yes", [[("Yes", math.log(0.75))]], math.log(3), set()),
    "only a no": ("No", [[("No", math.log(0.75))]], -math.log(3), set()),
    "only spellings of yes": ("Yes", [[("Yes", math.log(0.5)), ("yes", LEFT)]], math.log(3), set()),
    "little left beside a list": ("Yes", [[("Yes", math.log(0.5)), ("The", math.log(0.49))]], math.log(50), set()),
    "nothing left": ("No", [[("No", 0.0)]], -SURE, set()),
    "a limit": ("Yes", [[("Yes", 0.0), ("No", -9999.0)]], SURE, set()),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_each_rule_of_a_verdict(case: str) -> None:
    """By hand: the log-odds and the faults of each answer."""
    text, places, value, faults = VERDICTS[case]
    reading = read_verdict(text, [tuple(place) for place in places])
    assert reading.value == pytest.approx(math.nan if value is None else value, nan_ok=True)
    assert reading.faults == faults


def test_a_verdict_that_was_cut_off_counts_by_its_log_probabilities_or_alone() -> None:
    """With max_tokens=1 every answer is cut off: log-probabilities are used, and without them only a yes or no alone."""
    assert read_verdict("Yes", [(("Yes", -0.5), ("No", -1.0))], cut=True) == read_verdict("Yes", [(("Yes", -0.5), ("No", -1.0))])
    assert (read_verdict("No", cut=True).value, read_verdict("No", cut=True).faults) == (-SURE, {"no_logprobs", "overlong"})
    assert read_verdict("Let me see: no", cut=True).faults == {"malformed", "unread", "overlong"}


def _listed(text: str, *, first: Alternatives = (), last: Alternatives = ()) -> list[Alternatives]:
    """List each word as a token with the alternative "the"; ``first`` and ``last`` add alternatives to the first and last word."""
    words = [f" {word}" for word in text.split(" ")]
    places: list[Alternatives] = [((word, -0.1), (" the", -2.5)) for word in (words[0].strip(), *words[1:])]
    places[0] += first
    places[-1] += last
    return places


CUT_VERDICTS = {
    "the last word of a sentence": (_listed("I should weigh it: relevant means yes", last=((" no", -2.5),)), None),
    "the last word of a thought": (_listed("<THINK>The user says yes", last=((" no", -2.5),)), None),
    "the last word of gpt-oss's thought": (_listed("analysis\nwe decide yes", last=((" no", -2.5),)), None),
    "a first token that might have been a yes": (_listed("Maybe it", first=(("Yes", -2.0), ("No", -2.5))), None),
    "the first word": (_listed("Yes, since", first=(("No", -2.5),)), 2.4),
}


@pytest.mark.parametrize("case", CUT_VERDICTS)
def test_the_last_word_of_a_cut_answer_is_not_a_verdict(case: str) -> None:
    """By hand: only the first word of a cut answer is a verdict, whatever the log-probabilities of the last."""
    places, value = CUT_VERDICTS[case]
    reading = read_verdict("".join(place[0][0] for place in places), places, cut=True)
    assert reading.value == pytest.approx(math.nan if value is None else value, nan_ok=True)
    assert reading.faults == {"malformed", "overlong"} | ({"unread"} if value is None else set())


def test_the_only_token_of_a_cut_answer_counts_by_its_alternatives() -> None:
    """With max_tokens=1, the log-odds of the yes and no listed at the token, by hand -2 + 5."""
    assert read_verdict("It", [(("It", -0.1), ("Yes", -2.0), ("No", -5.0))], cut=True).value == pytest.approx(3.0)


@pytest.mark.parametrize(
    "text",
    [
        "It is not a yes.",
        "My answer is not yes.",
        "I would not say no",
        "It isn't, in my view, a yes.",
        "I cannot say yes",
        "Neither yes nor no.",
        "By no means a yes.",
        "Perhaps no rather than yes",
    ],
)
def test_a_negated_verdict_is_not_read(text: str) -> None:
    """A negated yes or no is unread, also where its token is listed."""
    assert read_verdict(text).faults == {"malformed", "unread"}
    assert read_verdict(text, _listed(text, last=((" yes", -2.0), (" no", -2.5)))).faults == {"malformed", "unread"}


@pytest.mark.parametrize(
    "text", ["It does not say. Answer: no", "It is not on the topic, so the answer is no.", "No, it is not.", "It is not it\n\nNo"]
)
def test_a_negation_of_something_else_does_not_count(text: str) -> None:
    """A negation in another sentence, before a conclusion, or after the verdict does not make it unread."""
    assert read_verdict(text).value == -SURE


REASONING = {
    "DeepSeek, Qwen": "<think>1? No, 3.</think>\n\n{}",
    "its start in the prompt": "1? No, 3.</think>\n{}",
    "thinking": "<thinking>1? 3.</thinking>\n{}",
    "Seed-OSS": "<seed:think>1? 3.</seed:think>{}",
    "Magistral": "[THINK]1? 3.[/THINK]{}",
    "Command A": "<|START_THINKING|>1? 3.<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
    "gpt-oss": "<|channel|>analysis<|message|>1? 3.<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
    "gpt-oss, its marks stripped": "analysis1? We need 3.assistantfinal{}",
    "gpt-oss, with comments": "analysisWe need 3.assistantcommentary1?assistantfinal{}",
    "Kimi": "\u25c1think\u25b71? 3.\u25c1/think\u25b7{}",
    "OpenThinker": "<|begin_of_thought|>1? 3.<|end_of_thought|><|begin_of_solution|>{}<|end_of_solution|>",
    "GLM": "<think>1? 3.</think><answer><|begin_of_box|>{}<|end_of_box|></answer>",
    "Granite": "Here is my thought process: 1? 3. Here is my response: {}",
    "Apriel": "Here are my reasoning steps: 1? 3.\n[BEGIN FINAL RESPONSE]{}[END FINAL RESPONSE]",
    "Gemma": "<|channel>thought\n1? 3.<channel|>{}",
    "MedGemma": "<unused94>thought\n1? 3.<unused95>{}",
    "in capitals": "<THINK>1? 3.</THINK>{}",
    "with a space": "<think >1? 3.</think >\n{}",
    "with an attribute": "<thinking type='long'>1? 3.</thinking>\n{}",
    "a prompt's scratchpad": "<scratchpad>1? 3.</scratchpad>\n{}",
    "a prompt's analysis": "<analysis>1? 3.</analysis>\n{}",
    "reflection": "<|reflection|>1? 3.<|/reflection|>{}",
    "as special tokens": "<|think|>1? 3.<|/think|>{}",
    "gpt-oss, its marks stripped, on a line": "analysis\nwe have 1? 3.assistantfinal{}",
    "gpt-oss, its marks stripped, in small letters": "analysisthe passage 1? 3.assistantfinal{}",
    "gpt-oss, with the role": "assistantanalysisWe 1? 3.assistantfinal{}",
}


@pytest.mark.parametrize("case", REASONING)
def test_reasoning_is_not_an_answer(case: str) -> None:
    """Reasoning in the documented formats of the models is removed before the answer is read."""
    form = REASONING[case]
    assert read_grade(form.format(2), 0, 3).value == 2
    assert read_verdict(form.format("No")).value == -SURE
    assert read_list(form.format("[2] > [1] > [3]"), 3).order == (1, 0, 2)
    assert read_list(form.format("[2] > [1] > [3]"), 3).faults == frozenset()


@pytest.mark.parametrize("case", [case for case in REASONING if case not in ("its start in the prompt", "Apriel")])
def test_reasoning_without_an_end_is_unread(case: str) -> None:
    """No number of an unfinished reasoning counts, also if the finish reason does not say that it was cut off."""
    form = REASONING[case]
    text = form[: form.index("3.") + 1]
    assert math.isnan(read_grade(text, 0, 3).value)
    assert math.isnan(read_verdict(text + ": yes").value)
    assert "unread" in read_list(text + " > [2] > [1]", 3).faults
    assert read_list(text + " > [2] > [1]", 3).order == (0, 1, 2)


@pytest.mark.parametrize(
    "text", ["Analysis: relevant. Score: 2", "Analysis\nScore: 2", "analysis: 2", "**analysis** 2", "a thought: 2"]
)
def test_a_heading_does_not_mark_reasoning(text: str) -> None:
    """An answer with a heading such as "Analysis" is read."""
    assert read_grade(text, 0, 3).value == 2
