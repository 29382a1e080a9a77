"""What holds for every stage that runs a transformer model: cross_encoder with a classifier and a language model, mono_t5, duo_t5.

The models are tiny and their weights random: what they prove is the mechanism, not how well it ranks.
"""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.cross_encoders import save
from toys.pairs import WORDS
from toys.t5 import make_t5, save_model

from pt_cascade.errors import FrameError, MissingError, PipelineError
from pt_cascade.stages import cross_encoder, duo_t5, mono_t5

pytestmark = pytest.mark.usefixtures("one_thread")

MAKE: dict[str, Callable[..., Any]] = {"bert": cross_encoder, "qwen3": cross_encoder, "mono_t5": mono_t5, "duo_t5": duo_t5}
T5 = pytest.mark.parametrize("make", [mono_t5, duo_t5])
ABSENT = "owner/absent"
CLOSE = {"abs": 1e-5, "rel": 1e-5}
TEXTS = st.one_of(
    st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join), st.integers(1, 700).map("heat ".__mul__)
)


@dataclass
class Member:
    """A stage of the family, with its model loaded once."""

    make: Callable[..., Any]
    folder: str
    stage: Any

    def share(self, **options: Any) -> Any:
        """A stage with other options and the same loaded model."""
        other = self.make(self.folder, **options)
        other.__dict__["_loaded"] = self.stage._loaded
        return other


@pytest.fixture(scope="session", params=MAKE)
def member(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """Each stage of the family."""
    make, name = MAKE[request.param], request.param
    folder = request.getfixturevalue("t5") if name.endswith("t5") else str(save(name, tmp_path_factory.mktemp(name)))
    return Member(make, folder, make(folder))


@pytest.fixture(scope="session")
def results() -> pd.DataFrame:
    """Two queries with 5 documents each, of 0 to 300 words, in an order and with an index of their own."""
    random = np.random.default_rng(0)
    rows = [
        (f"q{query}", " ".join(random.choice(WORDS, 3)), f"d{number}", " ".join(random.choice(WORDS[:10], size)))
        for query in range(2)
        for number, size in enumerate((0, 1, 5, 30, 300))
    ]
    frame = pd.DataFrame(rows, columns=["qid", "query", "docno", "text"], index=random.permutation(10))
    return frame.assign(query=frame.groupby("qid")["query"].transform("first"), rank=7, score=0.0, url="u")


def score(stage: Any, frame: pd.DataFrame) -> np.ndarray:
    """The scores of a frame."""
    return stage.transform(frame)["score"].to_numpy()


@settings(max_examples=12, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from("pq"), TEXTS), min_size=1, max_size=8), budget=st.integers(1, 3000), data=st.data())
def test_scores_do_not_change_with_the_batch(member: Member, rows: list[tuple[str, str]], budget: int, data: st.DataObject) -> None:
    """A pair alone, or a query alone where documents are compared, and all together in any order and batch: the same scores."""
    frame = pd.DataFrame(rows, columns=["qid", "text"]).assign(docno=[f"d{n}" for n in range(len(rows))])
    frame["query"] = "heat flow " + frame["qid"]
    unit = frame["qid"] if member.stage.depends == "pairwise" else frame["docno"]
    alone = pd.concat([member.stage.transform(part) for _, part in frame.groupby(unit, sort=False)])["score"]
    order = data.draw(st.permutations(range(len(frame))))
    together = member.share(batch_tokens=budget).transform(frame.iloc[order])["score"]
    assert together.sort_index().to_numpy() == pytest.approx(alone.sort_index().to_numpy(), **CLOSE)


def test_rows_and_columns_stay_as_they_were(member: Member, results: pd.DataFrame) -> None:
    """Same rows, same order, same index, other columns kept; old score and rank replaced; the input untouched."""
    before = results.copy(deep=True)
    out = member.stage.transform(results)
    kept = ["qid", "query", "docno", "text", "url"]
    pd.testing.assert_frame_equal(out[kept], before[kept])
    pd.testing.assert_frame_equal(results, before)
    assert {*out.columns} == {*kept, "score", "rank"}
    assert (out["score"].dtype, out["rank"].dtype) == (np.float64, np.int64)
    pd.testing.assert_frame_equal(pt.model.add_ranks(out.drop(columns="rank")), out, check_dtype=False, check_like=True)
    assert out["score"].std() > 0.01


def test_progress_is_shown_from_before_the_model_is_loaded(
    member: Member, results: pd.DataFrame, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first line is there when the model is asked for; the last counts all; a quiet stage shows nothing."""
    member.stage.transform(results)
    assert capsys.readouterr().err == ""
    loud, loaded, shown = member.make(member.folder, verbose=True), member.stage._loaded, []

    def load(_: object) -> object:
        shown.append(capsys.readouterr().err)
        return loaded

    monkeypatch.setattr(type(loud), "_loaded", property(load))
    loud.transform(results)
    total = 40 if loud.depends == "pairwise" else 10
    name = loud.stage_name
    assert shown[0].startswith(f"{name}: 0/{total} [")
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{name}: {total}/{total} [")


def test_no_rows_need_no_model(member: Member) -> None:
    """An empty frame gives an empty frame with score and rank, and loads nothing; so does PyTerrier's inspection."""
    stage = member.make(ABSENT, text_field="body")
    out = stage.transform(pd.DataFrame({"qid": [], "query": [], "docno": [], "body": [], "url": []}, dtype=str))
    assert {*out.columns} == {"qid", "query", "docno", "body", "url", "score", "rank"}
    assert pt.inspect.transformer_inputs(stage) == [["qid", "docno", "query", "body"]]
    assert pt.inspect.transformer_outputs(stage, ["qid", "docno", "query", "body"])[-2:] == ["score", "rank"]
    assert {a.name: a.value for a in pt.inspect.transformer_attributes(stage)}["text_field"] == "body"
    assert pt.inspect.transformer_apply_attributes(stage, max_length=99) == member.make(ABSENT, text_field="body", max_length=99)
    assert pt.schematic.transformer_schematic(stage)["label"] == type(stage).__name__
    assert "_loaded" not in vars(stage)


def test_stages_built_alike_are_equal(member: Member) -> None:
    """Equality and hash go by value, so that pipelines can share a prefix."""
    assert member.make(ABSENT) == member.make(ABSENT)
    assert hash(member.make(ABSENT)) == hash(member.make(ABSENT))
    for option in ({"max_length": 256}, {"text_field": "body"}, {"batch_tokens": 9}):
        assert member.make(ABSENT) != member.make(ABSENT, **option)


def test_a_pickle_has_the_arguments_and_not_the_model(member: Member, results: pd.DataFrame) -> None:
    """A copy is equal, small, loads its own model and scores alike."""
    stage = member.share(batch_tokens=500)
    copy = pickle.loads(sent := pickle.dumps(stage))  # noqa: S301 - our own
    assert (len(sent) < 1000, copy, "_loaded" in vars(copy)) == (True, stage, False)
    assert score(copy, results) == pytest.approx(score(stage, results), **CLOSE)


@pytest.mark.parametrize("column", ["query", "text", "docno"])
def test_a_missing_column_is_pyterriers_error(member: Member, column: str, results: pd.DataFrame) -> None:
    """So that pt.Experiment can tell which stage lacks what."""
    with pytest.raises(pt.validate.InputValidationError):
        member.make(ABSENT).transform(results.drop(columns=column))


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_text_is_refused(member: Member, missing: float | None, results: pd.DataFrame) -> None:
    """The stock T5 re-rankers would score the word None."""
    texts = results["text"].astype(object)
    texts.iloc[3] = missing
    with pytest.raises(FrameError, match="text is missing or not text"):
        member.make(ABSENT).transform(results.assign(text=texts))


def test_a_progress_bar_is_shown_only_when_asked_for(
    member: Member, results: pd.DataFrame, capfd: pytest.CaptureFixture[str]
) -> None:
    """No output by default, loading included; the bar counts rows, or pairs: 5 x 4 of each query."""
    capfd.readouterr()
    member.make(member.folder).transform(results)
    assert capfd.readouterr() == ("", "")
    member.make(member.folder, verbose=True).transform(results)
    assert ("40/40" if member.stage.depends == "pairwise" else "10/10") in capfd.readouterr().err


@pytest.mark.avx512
def test_a_lower_precision_is_near_and_ties_nothing(member: Member, results: pd.DataFrame) -> None:
    """Within half of how far the scores spread on random weights, not equal, and as many different scores as there were."""
    exact, coarse = score(member.stage, results), score(member.make(member.folder, dtype="bf16", device="cpu"), results)
    assert 0 < np.abs(coarse - exact).max() < 0.5 * exact.std()
    assert len(set(coarse)) == len(set(exact.round(6)))


class Recorder:
    """A loaded model that notes the rows and tokens of each batch."""

    def __init__(self, model: Any) -> None:
        """Begin empty."""
        self._model, self.batches = model, []

    def __getattr__(self, name: str) -> Any:
        """Everything else is the model's."""
        return getattr(self._model, name)

    def forward(self, ids: dict[str, list[np.ndarray]]) -> np.ndarray:
        """Note the lengths of the rows."""
        self.batches.append([len(row) for row in ids["input_ids"]])
        return self._model.forward(ids)


def test_tokens_are_those_that_the_model_is_given(member: Member, results: pd.DataFrame) -> None:
    """Counted from the batches, none of which is larger than the budget unless it is a single row."""
    stage = member.make(member.folder, batch_tokens=1000)
    stage.__dict__["_loaded"] = recorder = Recorder(member.stage._loaded)
    stage.transform(results)
    read = [tokens for batch in recorder.batches for tokens in batch]
    assert all(len(batch) == 1 or len(batch) * max(batch) <= 1000 for batch in recorder.batches)
    counted = stage.count_tokens(results)
    assert sum(counted) == sum(read)
    if stage.depends == "pointwise":
        assert sorted(counted) == sorted(read)


LENGTH, BATCH, DTYPE = (
    "max_length is 4, expected {} or more tokens",
    "batch_tokens is 0, expected 1 or more",
    "dtype is 'int8', expected one of fp32, bf16",
)


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"max_length": 4}, [LENGTH]),
        ({"batch_tokens": 0}, [BATCH]),
        ({"max_length": 4, "batch_tokens": 0, "dtype": "int8", "device": "cuda"}, [LENGTH, BATCH, DTYPE]),
    ],
)
def test_impossible_options_are_refused_before_a_model_is_loaded(
    member: Member, options: dict[str, Any], problems: list[str]
) -> None:
    """All of them together."""
    with pytest.raises(PipelineError) as error:
        member.make(ABSENT, **options)
    assert error.value.what == f"{member.stage.stage_name} cannot be made"
    assert list(error.value.problems) == [problem.format(32 if member.stage.depends == "pairwise" else 16) for problem in problems]


def test_a_folder_that_is_not_there_is_refused_at_once(member: Member) -> None:
    """With the stage's name."""
    with pytest.raises(MissingError) as error:
        member.make("/no/such/folder")
    assert error.value.what == f"{member.stage.stage_name}: cannot load '/no/such/folder'"


@pytest.mark.usefixtures("no_hub")
def test_a_hub_that_cannot_be_reached_is_reported_at_once(member: Member, results: pd.DataFrame) -> None:
    """One attempt, and an error with the stage, the model and the cure."""
    with pytest.raises(MissingError) as error:
        member.make(ABSENT).transform(results)
    assert error.value.what == f"{member.stage.stage_name}: cannot load 'owner/absent'"
    assert "it is not a folder, not in the local hub cache, and the model hub cannot be reached: " in error.value.problems[0]
    fix = "hf download owner/absent, on a machine with a network, or pass the folder of a model"
    assert error.value.fix == fix


# --- mono_t5 and duo_t5


@T5
def test_a_tokenizer_may_be_elsewhere(
    make: Callable[..., Any], t5: str, t5_tokenizer: Path, results: pd.DataFrame, tmp_path: Path
) -> None:
    """A checkpoint without a tokenizer takes the one that is named."""
    stage = make(save_model(make_t5(), tmp_path, None), tokenizer=t5_tokenizer)
    assert score(stage, results) == pytest.approx(score(make(t5), results), **CLOSE)


@T5
def test_a_tokenizer_that_is_named_must_be_there(make: Callable[..., Any], t5: str, results: pd.DataFrame) -> None:
    """Nothing is taken in its place."""
    with pytest.raises(MissingError) as error:
        make(t5, tokenizer="/no/such/folder").transform(results)
    assert error.value.what == f"{make.stage_name}: cannot load '/no/such/folder'"
    assert error.value.fix == 'pass tokenizer="...", the name or the folder of the tokenizer that the model was trained with'


@T5
@pytest.mark.usefixtures("no_hub")
def test_a_t5_without_a_tokenizer_takes_that_of_t5_base(
    make: Callable[..., Any],
    t5: str,
    t5_tokenizer: Path,
    results: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As pyterrier_t5 does by default; offline, the error says which and what to do."""
    folder = save_model(make_t5(), tmp_path / "model", None)
    with pytest.raises(MissingError) as error:
        make(folder).transform(results)
    assert error.value.what == f"{make.stage_name}: cannot load 't5-base'"
    load, asked = transformers.AutoTokenizer.from_pretrained, []
    monkeypatch.setattr("pt_cascade.stages.inference.loading.find_cached", lambda name: "there" if name == "t5-base" else "")

    def answer(name: str) -> Any:
        asked.append(name)
        return load(t5_tokenizer if name == "t5-base" else name)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", answer)
    assert score(make(folder), results) == pytest.approx(score(make(t5), results), **CLOSE)
    assert asked == [folder, "t5-base", t5]


@T5
def test_another_kind_of_model_is_refused(make: Callable[..., Any], minilm: str, results: pd.DataFrame) -> None:
    """A BERT cannot be asked for a word."""
    with pytest.raises(MissingError) as error:
        make(minilm).transform(results)
    assert str(error.value) == (
        f"{make.stage_name}: cannot rank by {minilm!r}: it is a bert model, expected one of t5, mt5."
        " Fix: pass a checkpoint such as castorini/monot5-base-msmarco or castorini/duot5-base-msmarco"
    )


@T5
def test_answers_that_the_vocabulary_lacks_are_refused(make: Callable[..., Any], t5: str, results: pd.DataFrame) -> None:
    """An unknown piece would be the unknown token; the cure is the piece with its mark."""
    with pytest.raises(PipelineError) as error:
        make(t5, tokens=("▁zzqq", "▁false")).transform(results)
    assert str(error.value) == (
        f"{make.stage_name}: the answer tokens are unknown: '▁zzqq' is not a piece of the vocabulary."
        " Fix: a word begins with ▁ (U+2581): tokens=('▁true', '▁false')"
    )
    assert score(make(t5, tokens=("▁true", "▁false")), results) == pytest.approx(score(make(t5), results), **CLOSE)


@T5
def test_two_equal_answers_are_refused(make: Callable[..., Any]) -> None:
    """A list counts as the tuple of its parts."""
    with pytest.raises(PipelineError, match=r"tokens is \('▁true', '▁true'\), expected two different pieces"):
        make(ABSENT, tokens=["▁true", "▁true"])
    assert hash(make(ABSENT, tokens=["▁sim", "▁não"])) == hash(make(ABSENT, tokens=("▁sim", "▁não")))


@pytest.mark.parametrize("make", [cross_encoder, mono_t5, duo_t5])
def test_help_shows_and_explains_every_argument(make: Callable[..., Any]) -> None:
    """The signature of what is called has the arguments of its documentation, the model first and the others by name."""
    explained = re.findall(r"^    (\w+): ", inspect.getdoc(make) or "", re.MULTILINE)
    parameters = inspect.signature(make).parameters
    errors = {"MissingError", "PipelineError", "StageError"}
    assert {*explained} - errors == {*parameters}
    kinds = [parameter.kind for parameter in parameters.values()]
    assert kinds == [inspect.Parameter.POSITIONAL_OR_KEYWORD, *[inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 1)]
    assert make(ABSENT, **{name: parameter.default for name, parameter in [*parameters.items()][1:]}) == make(ABSENT)
