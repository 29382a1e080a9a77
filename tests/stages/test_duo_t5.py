"""DuoT5: the probabilities of plain transformers code, one pair at a time, whatever else is compared, and the papers' sums.

The models are tiny and their weights random: what they prove is the mechanism, not how well it ranks.
"""

from __future__ import annotations

import math
import warnings
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt
import pyterrier_t5
import pytest
import sentencepiece
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.pairs import WORDS
from toys.t5 import save_model

from pt_cascade import Cascade
from pt_cascade.errors import CascadeWarning, FrameError, PipelineError
from pt_cascade.stages.base.pairwise import list_pairs
from pt_cascade.stages.duo_t5 import DuoT5, duo_t5
from pt_cascade.stages.inference import duo_prompts
from pt_cascade.stages.inference.duo_prompts import DuoPrompts
from pt_cascade.stages.inference.t5 import AnsweringT5

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = 1e-5
TEXTS = st.one_of(
    st.text(max_size=40), st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join), st.integers(1, 700).map("heat ".__mul__)
)
ABSENT = "castorini/absent"
TRUE, FALSE = 1176, 6136  # PyGaggle's rerank/transformer.py names the same two


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    """Two queries, 6 and 5 documents of 0 to 200 words that any two of fit, rows mixed, with an index of their own."""
    random = np.random.default_rng(0)
    rows = [
        {
            "qid": f"q{query}",
            "query": f"heat flow {query} 東京",
            "docno": f"d{n}",
            "text": " ".join(random.choice(WORDS[:10], size)),
        }
        for query, sizes in enumerate([(0, 1, 3, 20, 60, 180), (1, 5, 8, 40, 90)])
        for n, size in enumerate(sizes)
    ]
    return pd.DataFrame(rows, index=random.permutation(11)).sort_index().assign(rank=7, score=0.0, url="u")


def _stock(folder: str, batch_size: int, words: str | None = None) -> pt.Transformer:
    return pyterrier_t5.DuoT5ReRanker(words or folder, folder, batch_size=batch_size, verbose=False)


@pytest.fixture(scope="module")
def stock(t5: str) -> pt.Transformer:
    """The stock re-ranker, one pair at a time."""
    return _stock(t5, 1)


_STAGES: dict[str, DuoT5] = {}


def _cached(folder: str) -> DuoT5:
    return _STAGES.setdefault(folder, DuoT5(folder))


def _alike(folder: str, **options: Any) -> DuoT5:
    """A stage with other options and the model that is there already."""
    stage = DuoT5(folder, **options)
    stage.__dict__["_loaded"] = _cached(folder)._loaded._replace(limit=stage.max_length)
    return stage


def _wins(stage: DuoT5, frame: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Every answer, by query and documents."""
    first, second = list_pairs(frame["qid"])
    qid, docno = frame["qid"].tolist(), frame["docno"].tolist()
    chances = stage.compare(frame, first, second).tolist()
    return {(qid[i], docno[i], docno[j]): p for i, j, p in zip(first, second, chances, strict=True)}


def _frame(query: str, *texts: str) -> pd.DataFrame:
    return pd.DataFrame({"qid": "q", "query": query, "docno": [f"d{n}" for n in range(len(texts))], "text": texts})


@pytest.mark.parametrize(("kind", "answers"), [("t5", (TRUE, FALSE)), ("mt5", (4273, 150))])
def test_probabilities_are_those_of_plain_transformers(
    kind: str, answers: tuple[int, int], results: pd.DataFrame, request: Any
) -> None:
    """Golden values from transformers alone: the paper's prompt as one text, one pair at a time, softmax of the two logits."""
    folder = request.getfixturevalue(kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    wins = _wins(_cached(folder), results)
    rows = {(row.qid, row.docno): row for row in results.itertuples()}
    for (qid, one, two), chance in wins.items():
        texts = rows[qid, one].text, rows[qid, two].text
        prompt = f"Query: {rows[qid, one].query} Document0: {texts[0]} Document1: {texts[1]} Relevant:"
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=ids, decoder_input_ids=torch.zeros((1, 1), dtype=torch.long)).logits[0, 0, list(answers)]
        assert chance == pytest.approx(float(torch.softmax(logits, 0)[0]), abs=CLOSE)
    assert len(wins) == 6 * 5 + 5 * 4
    assert np.std(list(wins.values())) > 1000 * CLOSE


@settings(max_examples=15, deadline=None)
@given(query=st.text(max_size=20), texts=st.lists(TEXTS.map(lambda text: text[:300]), min_size=2, max_size=4))
def test_pairs_that_fit_are_compared_as_pyterrier_t5_compares_them(
    t5: str, stock: pt.Transformer, query: str, texts: list[str]
) -> None:
    """Golden values from pyterrier_t5 one pair at a time: its own odd sum of our probabilities is its score."""
    frame = _frame(query, *texts)
    expected = _odd_sums(_wins(_cached(t5), frame), frame["docno"].tolist())
    assert stock.transform(frame)["score"].to_numpy() == pytest.approx(expected, abs=CLOSE * len(frame), rel=0)


def _odd_sums(wins: dict[tuple[str, str, str], float], docno: list[str]) -> list[float]:
    """What pyterrier_t5 makes of the probabilities: log p(i, j) for i, and 1 - log p(i, j) for j."""
    logs = {(one, two): math.log(chance) for (_, one, two), chance in wins.items()}
    return [sum(logs[doc, other] + 1 - logs[other, doc] for other in docno if other != doc) for doc in docno]


def test_the_prompt_is_that_of_the_paper(t5: str, t5_tokenizer: Path) -> None:
    """Golden ids from SentencePiece itself: the whole prompt's pieces and the end token."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(t5_tokenizer / "spiece.model"))
    one, two = (np.array(rows) for rows in zip(*permutations(range(3), 2), strict=True))
    prompts = DuoPrompts.encode(_cached(t5)._loaded, ["heat flow"] * 3, ["past a blunt", " Café  東京", ""])
    for ids, (text0, text1) in zip(
        prompts.join(one, two)["input_ids"], permutations(["past a blunt", "Café 東京", ""], 2), strict=True
    ):
        whole = f"Query: heat flow Document0: {text0} Document1: {text1} Relevant:"
        assert ids.tolist() == [*pieces.encode(whole), 1]


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(32, 80),
    query=st.integers(0, 60),
    sizes=st.lists(st.integers(0, 90), min_size=2, max_size=4),
)
def test_documents_share_what_the_query_leaves(t5: str, limit: int, query: int, sizes: list[int]) -> None:
    """Token by token from the rule: half each, what one does not need is the other's; both orders show the same parts."""
    model = _cached(t5)._loaded._replace(limit=limit)
    tokenizer, tail = model.tokenizer, model.tail
    one, two = (np.array(rows) for rows in zip(*permutations(range(len(sizes)), 2), strict=True))
    prompts = DuoPrompts.encode(model, ["the " * query] * len(sizes), [f"{'heat ' * size}" for size in sizes])
    room = limit - min(3 + query, limit - 6 - len(tail)) - 6 - len(tail)
    for i, j, ids in zip(one, two, prompts.join(one, two)["input_ids"], strict=True):
        words = tokenizer.convert_ids_to_tokens(ids.tolist())
        second = words.index("▁Document", words.index("▁Document") + 1)
        assert [words[:second].count("▁heat"), words[second:].count("▁heat")] == _deal([sizes[i], sizes[j]], room)
        assert len(ids) <= limit
        assert ids[-len(tail) :].tolist() == tail.tolist()


def _deal(sizes: list[int], room: int) -> list[int]:
    """Deal out the room: a token to each document that wants one, as long as it goes round."""
    read = [0, 0]
    while wanting := [side for side in (0, 1) if read[side] < sizes[side]]:
        if sum(read) + len(wanting) > room:
            break
        for side in wanting:
            read[side] += 1
    return read


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(TEXTS, min_size=2, max_size=5), budget=st.integers(1, 4000), data=st.data())
def test_an_answer_does_not_change_with_what_else_is_compared(t5: str, texts: list[str], budget: int, data: st.DataObject) -> None:
    """Some pairs, in any order, in any batch, beside other documents: each answer is that of the pair alone."""
    frame = _frame("heat flow", *texts)
    first, second = list_pairs(frame["qid"])
    some = data.draw(st.lists(st.sampled_from(range(len(first))), min_size=1, max_size=8))
    together = _alike(t5, batch_tokens=budget).compare(frame, first[some], second[some])
    for pair, chance in zip(some, together, strict=True):
        two = frame.iloc[[second[pair], first[pair]]]
        assert _cached(t5).compare(two, np.array([1]), np.array([0]))[0] == pytest.approx(chance, abs=CLOSE)


def test_the_stock_re_ranker_fails_that_test(t5: str, stock: pt.Transformer, results: pd.DataFrame) -> None:
    """Its scores move by far more than the tolerance when the batch changes: the test above can fail."""
    four = _stock(t5, 4)
    alone, together = (stage.transform(results)["score"].to_numpy() for stage in (stock, four))
    assert np.abs(alone - together).max() > 0.01


def test_scores_are_the_papers_sums(t5: str, results: pd.DataFrame) -> None:
    """By hand from the answers, each aggregation by its formula; sym-sum between 0 and 2(n - 1)."""
    wins = _wins(_cached(t5), results)
    formulas = {
        "sum": lambda p, _: p,
        "sym-sum": lambda p, q: p + 1 - q,
        "binary": lambda p, _: p > 0.5,
        "sum-log": lambda p, _: math.log(p),
        "sym-sum-log": lambda p, q: math.log(p) + math.log(1 - q),
    }
    for how, formula in formulas.items():
        out = _alike(t5, aggregation=how).transform(results)
        expected = [
            sum(formula(p, wins[qid, other, doc]) for (query, one, other), p in wins.items() if (query, one) == (qid, doc))
            for qid, doc in zip(results["qid"], results["docno"], strict=True)
        ]
        assert out["score"].to_numpy() == pytest.approx(expected, abs=1e-4, rel=0)
    scores = _cached(t5).transform(results)["score"]
    assert scores.between(0, 2 * 5).all()
    assert scores.groupby(results["qid"]).sum().tolist() == pytest.approx([6 * 5, 5 * 4], abs=1e-9)


def test_the_stock_score_has_no_bound(t5: str, tmp_path: Path) -> None:
    """Of 10 documents the paper's sum gives 18 at most, whatever the model; pyterrier_t5's gives more, and less than 0."""
    model = transformers.T5ForConditionalGeneration.from_pretrained(t5)
    with torch.no_grad():
        model.shared.weight[[TRUE, FALSE]] = 20 * model.shared.weight[[FALSE, TRUE]]  # sure that the first one loses
    folder = save_model(model, tmp_path, None)
    frame = _frame("flow", *("heat " * n for n in range(10)))
    stages = _stock(folder, 1, t5), duo_t5(folder, tokenizer=t5)
    theirs, ours = (stage.transform(frame)["score"] for stage in stages)
    assert ours.between(0, 18).all()
    assert (theirs.max() > 18, theirs.min() < 0) == (True, True)
    expected = _odd_sums(_wins(stages[1], frame), frame["docno"].tolist())
    assert theirs.to_numpy() == pytest.approx(expected, abs=1e-3, rel=0)


def test_a_query_that_fills_the_prompt_is_cut_with_a_warning(t5: str) -> None:
    """Where no document fits, all pairs look alike, and a warning says that none was read."""
    frame = pd.concat([_frame("heat " * 900, "flow", "blunt"), _frame("heat", "flow", "blunt").assign(qid="r")])
    said = (
        r"^duo_t5: all 512 tokens are filled by 1 query, first '(heat ){8}', so the model reads little or nothing"
        r" of their documents: shorten them, or pass a larger max_length if the model has one$"
    )
    with pytest.warns(CascadeWarning, match=said):
        wins = _wins(_cached(t5), frame)
    assert wins["q", "d0", "d1"] == pytest.approx(wins["q", "d1", "d0"], abs=CLOSE)
    assert wins["r", "d0", "d1"] != pytest.approx(wins["r", "d1", "d0"], abs=1e-3)


def test_the_warning_comes_exactly_where_a_token_each_does_not_fit(t5: str) -> None:
    """While both documents show a token other texts give other answers; from then on the warning says that they do not."""
    warned = []
    for size in range(12, 20):
        frame = _frame("the " * size, "flow", "blunt")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            one, two = _wins(_alike(t5, max_length=32), frame).values()
        warned.append(bool(caught))
        assert warned[-1] == (abs(one - two) < 1e-6)
    assert set(warned) == {False, True}


def test_each_text_is_tokenized_once(t5: str, results: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names, each different query, each different document, whatever the number of pairs; and none that is not compared."""
    seen: list[str] = []
    tokenize = duo_prompts.tokenize
    monkeypatch.setattr(
        duo_prompts, "tokenize", lambda words, texts, **more: [*map(seen.append, texts)] and tokenize(words, texts, **more)
    )
    frame = pd.concat([results, results.assign(qid="again" + results["qid"]), _frame("alone", "alone")])
    _cached(t5).transform(frame)
    names = ["Document0:", "Document1:"]
    queries = [f"Query: {query}" for query in results["query"].unique()]
    assert sorted(seen) == sorted([*names, *queries, *(f"Document0: {text}" for text in results["text"].unique())])


def test_prompts_are_put_together_batch_by_batch(t5: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 9,900 pairs no more are there at once than a batch holds, and the tokens counted for each row are those read."""
    held: list[tuple[int, int, int]] = []

    def forward(_: object, ids: dict[str, list[np.ndarray]]) -> np.ndarray:
        prompts = ids["input_ids"]
        held.append((len(prompts), max(map(len, prompts)), sum(map(len, prompts))))
        return np.zeros(len(prompts))

    monkeypatch.setattr(AnsweringT5, "forward", forward)
    frame = _frame("heat", *("flow " * n for n in range(100)))
    out = _alike(t5, batch_tokens=1000).transform(frame)
    assert out["score"].tolist() == [99.0] * 100  # log-odds 0 are a half each: 99 x (0.5 + 1 - 0.5)
    assert max(rows * longest for rows, longest, _ in held) <= 1000
    assert sum(rows for rows, _, _ in held) == 9900
    counts = _cached(t5).count_tokens(frame)
    assert sum(counts) == sum(tokens for _, _, tokens in held)
    assert counts == sorted(counts)


def test_counts_are_of_the_pairs_in_which_a_row_stands_first(t5: str, results: pd.DataFrame) -> None:
    """Golden counts from transformers' own tokenizer of the whole prompts; nothing for a document alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(t5)
    frame = pd.concat([results, _frame("alone", "alone")])
    expected = [
        sum(
            len(tokenizer(f"Query: {row.query} Document0: {row.text} Document1: {other.text} Relevant:")["input_ids"])
            for other in frame.itertuples()
            if (other.qid, other.docno != row.docno) == (row.qid, True)
        )
        for row in frame.itertuples()
    ]
    assert _cached(t5).count_tokens(frame) == expected
    assert expected[-1] == 0


def test_documents_of_different_queries_are_not_compared(t5: str, results: pd.DataFrame) -> None:
    """A query id with two texts, or a pair across queries, has no one query to put into the prompt."""
    said = (
        r"^duo_t5 cannot compare documents of different queries: 1 of 2 pairs, first qid 'q1', docno 'd\d' and qid 'q0', docno"
        r" 'd\d'\. Fix: "
    )
    q0, q1 = (results["qid"].tolist().index(name) for name in ("q0", "q1"))
    with pytest.raises(FrameError, match=said):
        _cached(t5).compare(results, np.array([q1, q1]), np.array([q0, q1]))


def test_a_query_id_with_two_texts_is_refused_and_the_cure_gives_it_one(t5: str, results: pd.DataFrame) -> None:
    """The line that the error prints is run; the scores are those of the frame with one text."""
    first = results["qid"].tolist().index("q0")
    odd = results.assign(query=[query + "!" * (n > first) for n, query in enumerate(results["query"])])
    odd.loc[odd["qid"] == "q1", "query"] = "heat"
    with pytest.raises(FrameError) as error:
        _cached(t5).transform(odd)
    given = {"results": odd}
    exec(error.value.fix, given)  # noqa: S102 - our own line
    one = results.assign(query=results["qid"].map({"q0": "heat flow 0 東京", "q1": "heat"}))
    pd.testing.assert_frame_equal(_cached(t5).transform(given["results"]), _cached(t5).transform(one))


def test_sure_answers_are_still_probabilities(mt5: str, tmp_path: Path) -> None:
    """Logits thousands apart give 0 and 1, without overflow."""
    model = transformers.MT5ForConditionalGeneration.from_pretrained(mt5)
    with torch.no_grad():
        model.lm_head.weight[[4273, 150]] *= 1e4
    folder = save_model(model, tmp_path, None)
    chances = [*_wins(duo_t5(folder, tokenizer=mt5), _frame("heat", *(f"{'flow ' * n}" for n in range(8)))).values()]
    assert {0.0, 1.0} & {*chances}
    assert all(0 <= chance <= 1 for chance in chances)


def test_it_is_a_pair_stage(t5: str, results: pd.DataFrame) -> None:
    """A cascade that ends in it ranks as its plain pipeline does."""
    some = results[results["text"] != ""]
    run = some.assign(score=-some["docno"].str[1:].astype(float))
    run = pt.model.add_ranks(run.drop(columns="rank"))
    pipeline = pt.Transformer.from_df(run) % 4 >> _cached(t5) % 2
    cascade = Cascade.of(pipeline)
    assert (repr(cascade), cascade[-1].depends) == ("run → 4 · duo_t5 → 2", "pairwise")
    topics = run[["qid", "query"]].drop_duplicates()
    pd.testing.assert_frame_equal(cascade.transform(topics), pipeline.transform(topics), check_like=True)


def test_an_unknown_aggregation_is_refused_at_once() -> None:
    """Before any model is loaded."""
    with pytest.raises(PipelineError) as error:
        duo_t5(ABSENT, aggregation="mean")
    assert str(error.value) == (
        "duo_t5 cannot aggregate: aggregation is 'mean', expected one of sum, sym-sum, binary, sum-log, sym-sum-log, min, max."
        ' Fix: aggregation="sym-sum"'
    )


def test_the_two_answers_share_one_probability(t5: str, results: pd.DataFrame) -> None:
    """p(true) + p(false) = 1: with the answers exchanged the probabilities are the rest."""
    true, false = (_wins(stage, results) for stage in (_cached(t5), duo_t5(t5, tokens=("▁false", "▁true"))))
    assert [true[pair] + false[pair] for pair in true] == pytest.approx([1.0] * len(true), abs=1e-12)
