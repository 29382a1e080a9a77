"""A cascade from one line of text, and the catalogue of what such a line may name. No model runs but the real MiniLM."""

from __future__ import annotations

import inspect
import re
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from toys.folders import write_folder

from pt_cascade import stages
from pt_cascade.cli import main
from pt_cascade.collections import Collection, make_collection
from pt_cascade.collections.texts import TextLoader
from pt_cascade.commands.stages import LINES
from pt_cascade.errors import CascadeError, MissingError, PipelineError
from pt_cascade.execution import composing as recipes
from pt_cascade.execution.composing import parse_cascade
from pt_cascade.stages import catalogue as listing
from pt_cascade.stages.catalogue import CATALOGUE, list_stages

WORDS = ("lion", "tiger", "bear", "wolf", "otter", "seal")
TEXTS = {f"d{n}": f"the {WORDS[n % 6]} and the {WORDS[n * 5 % 6]} number {n}" for n in range(12)}
TOPICS = pd.DataFrame({"qid": ["1", "2"], "query": ["lion bear", "otter"]})
QRELS = pd.DataFrame({"qid": ["1", "2"], "docno": ["d0", "d4"], "label": [1, 1]})
PLAIN = ("cross_encoder", "mono_t5", "duo_t5", "llm_judge")  # stages that need a model's name


def animals() -> Collection:
    """Twelve documents and two judged queries."""
    return make_collection("animals", TOPICS, QRELS, [{"docno": docno, "text": text} for docno, text in TEXTS.items()])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The folder of a cross-encoder's configuration: enough to name a stage, not to run it."""
    transformers.BertConfig().save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


# --- one line


@pytest.mark.usefixtures("minilm", "cache")
def test_a_line_ranks_as_the_pipeline_that_it_says(tmp_path: Path) -> None:
    """Golden: the same stages put together by hand, over the same stored index and vectors; from a collection or its folder."""
    collection = animals()
    write_folder(collection, tmp_path / "animals")
    stored = recipes.store_index(collection), recipes.store_vectors(collection)
    retrieve, encode = stages.bm25(stored[0]), stages.bi_encoder(stored[1])
    by_hand = retrieve % 5 >> encode % 3 >> stages.late_interaction(vectors=stored[1]) % 2
    for source in (collection, tmp_path / "animals"):
        cascade = parse_cascade("bm25 % 5 >> bi_encoder % 3 >> late_interaction % 2", source)
        assert repr(cascade) == "bm25 → 5 · bi_encoder → 3 · late_interaction → 2"
        assert repr(parse_cascade(repr(cascade), source)) == repr(cascade)
        pd.testing.assert_frame_equal(cascade.transform(TOPICS), by_hand.transform(TOPICS))


@pytest.mark.usefixtures("minilm", "cache")
def test_a_line_that_ends_in_a_fusion_fuses_its_stages() -> None:
    """Golden: the cascade of the line without it, fused; its line is read back, and a wrong stage is refused by name."""
    collection = animals()
    plain = parse_cascade("bm25 % 5 >> bi_encoder % 3 >> late_interaction % 2", collection)
    for options in ({}, {"method": "rrf", "k": 10}, {"normalise": "rank"}):
        fused = plain.fused({"bm25": 0.4, "bi_encoder": 0.2, "late_interaction": 0.4}, **options)
        words = "".join(f", {name}={value!r}" for name, value in options.items())
        stages = "bm25 % 5 >> bi_encoder % 3 >> late_interaction"
        line = f"{stages} >> fused(bm25=4, bi_encoder=2, late_interaction=4{words}) % 2"
        for read in (parse_cascade(line, collection), parse_cascade(repr(fused), collection)):
            assert (repr(read), read.fusion) == (repr(fused), fused.fusion)
            pd.testing.assert_frame_equal(read.transform(TOPICS), fused.transform(TOPICS))
    assert parse_cascade("bm25 % 5 >> bi_encoder >> fused(bm25=1) % 3 % 2", collection).cutoffs == (5, 2)
    with pytest.raises(CascadeError, match=r"no stage 'bm52': the stages are bm25, bi_encoder; did you mean 'bm25'\?"):
        parse_cascade("bm25 % 5 >> bi_encoder >> fused(bm52=1)", collection)
    with pytest.raises(PipelineError, match="'hybrid' is one stage, and a fusion is of two or more: leave fused\\(hybrid=1\\) out"):
        parse_cascade("hybrid >> fused(hybrid=1)", collection)


@pytest.mark.usefixtures("minilm")
def test_commands_take_a_line_that_ends_in_a_fusion(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``search`` shows the fused ranking; ``score`` finds the scores of the same line without the fusion, which it stores once."""
    write_folder(animals(), tmp_path / "animals")
    plain, fused = "bm25 % 5 >> late_interaction % 2", "bm25 % 5 >> late_interaction >> fused(bm25=1, late_interaction=3) % 2"
    given = ["--collection", str(tmp_path / "animals"), "--cascade"]
    assert main(["search", "lion bear", *given, fused]) == 0
    said = capsys.readouterr().out
    assert "late_interaction · fused(bm25=0.25, late_interaction=0.75) → 2   (" in said
    best = parse_cascade(fused, tmp_path / "animals").transform(TOPICS.head(1))
    assert [f"{row.score:.3f} {row.docno} " in said for row in best.itertuples()] == [True, True]
    for name, line in (("plain", plain), ("fused", fused)):
        assert main(["score", *given, line, "--out", str(tmp_path / name)]) == 0
    assert len(list(cache.rglob("scores-*"))) == 1


@pytest.mark.usefixtures("minilm", "cache")
def test_hybrid_alone_fuses_bm25_and_dense() -> None:
    """As it says of itself, with or without its branches written out; its options are those of the function."""
    collection = animals()
    bare, spelt = (parse_cascade(line, collection) for line in ("hybrid % 5", "hybrid(bm25, dense) % 5"))
    pd.testing.assert_frame_equal(bare.transform(TOPICS), spelt.transform(TOPICS))
    other = parse_cascade("hybrid(bm25 % 3, dense(num_results=4), k=10)", collection).transform(TOPICS)
    assert other["score"].max() == pytest.approx(1 / 11 + 1 / 12)  # first in one list, second in the other
    assert set(other["docno"]) <= set(TEXTS)


@pytest.mark.usefixtures("cache")
def test_texts_are_loaded_before_what_reads_them_and_only_there(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text loader rides with the cross-encoder; BM25 has none; only what the line needs is built."""
    monkeypatch.setattr(recipes, "store_vectors", lambda *_, **__: pytest.fail("no stage reads vectors"))
    collection = animals()
    cascade = parse_cascade(f"bm25 % 5 >> cross_encoder({model!r}, max_length=64) % 2", collection)
    assert [len(stage.transformers) for stage in cascade] == [1, 2]
    assert cascade[1].transformers[0] == TextLoader(collection)
    assert cascade[1].transformers[1].max_length == 64
    assert [(stage.depends, stage.cutoff) for stage in cascade] == [("pointwise", 5), ("pointwise", 2)]


@pytest.mark.usefixtures("cache")
def test_the_texts_of_a_cached_stage_are_loaded_before_it(model: str, tmp_path: Path) -> None:
    """``cached`` keeps the scores of the bare stage, which is given texts like any other."""
    cascade = parse_cascade(f"bm25 % 5 >> cached(cross_encoder({model!r}), {str(tmp_path / 'scores')!r}) % 2", animals())
    assert (cascade[1].name, len(cascade[1].transformers)) == ("cross_encoder", 2)
    assert isinstance(cascade[1].transformers[0], TextLoader)


@pytest.mark.usefixtures("cache")
def test_passages_are_a_stage_of_a_line(model: str, tmp_path: Path) -> None:
    """With the texts of the collection before them; with a cache inside or around, and a stage that picks them."""
    inner, path = f"cross_encoder({model!r})", str(tmp_path / "scores")
    lines = {
        f"passages({inner}, length=2, stride=1)": {"length": 2, "stride": 1},
        f"passages({inner}, first={inner}, best=1, take='mean')": {"best": 1, "take": "mean"},
        f"passages(cached({inner}, {path!r}), title_field='text')": {"title_field": "text"},
        f"cached(passages({inner}, take='kmax', k=2), {path + '2'!r})": {"take": "kmax", "k": 2},
    }
    for line, options in lines.items():
        cascade = parse_cascade(f"bm25 % 5 >> {line} % 2", animals())
        assert repr(cascade) == "bm25 → 5 · cross_encoder → 2"
        loader, stage = cascade[1].transformers
        assert isinstance(loader, TextLoader)
        stage = getattr(stage, "stands_for", stage)
        assert {name: getattr(stage, name) for name in options} == options


WRONG = {
    "bm25 >> passages(mono_t5, length=9)": "mono_t5: missing a required argument: 'model'",
    "passages(bm25, first=lucene, best=2)": "there is no stage 'lucene'; pt-cascade stages lists them",
    "passages(bm25, best=x)": "best=x is not a literal (text is written with quotes: 'x')",
    "passages(bm25 % 5, length=3)": "bm25 % 5 is not a literal or a stage",
    "passages(bm25, length=3, stride=4)": "passages cannot be made: stride is 4, expected 1 to the length, 3",
    "bm25 % 0": "'0' is not a cut-off, expected a whole number of 1 or more",
    "bm25 % True": "'True' is not a cut-off, expected a whole number of 1 or more",
    "bm25 % k": "'k' is not a cut-off, expected a whole number of 1 or more",
    "MonoT5('x')": "there is no stage 'MonoT5'; pt-cascade stages lists them; did you mean 'mono_t5'?",
    "lucene": "there is no stage 'lucene'; pt-cascade stages lists them",
    "bm25 + bm25": "'bm25 + bm25' is not a stage; a line has stages, % and >>",
    "bm25(index='x')": "bm25 takes its index from the collection",
    "late_interaction(vectors='x')": "late_interaction takes its vectors from the collection",
    "bm25(k3=1)": "bm25: got an unexpected keyword argument 'k3'",
    "mono_t5": "mono_t5: missing a required argument: 'model'",
    "mono_t5(org/model-base)": "org / model - base is not a literal (text is written with quotes: 'org/model-base')",
    "mono_t5(model)": "model is not a literal (text is written with quotes: 'model')",
    "bm25(k1=one)": "k1=one is not a literal (text is written with quotes: 'one')",
    "bm25(k1=1, b=0, k1=2)": "bm25: k1 is given 2 times",
    "mono_t5('model)": '"mono_t5(\'model)": unterminated string literal',
    "-" * 900 + "bm25": "its operators or parentheses are nested too deeply",
    "(" * 900 + "bm25" + ")" * 900: "too many nested parentheses",
    "bm25" + " % 5" * 600: "it has 1201 names, numbers and operators, expected at most 1000",
    "hybrid(bm25, lucene)": "there is no stage 'lucene'; pt-cascade stages lists them",
    "bm25 >>": "'bm25 >>': invalid syntax",
    "": "it is empty",
    "bm25" + " >> bm25" * 9999: "its operators or parentheses are nested too deeply",
    "bm25 % 99999999999": "'99999999999' is not a cut-off, expected a whole number of 1 or more",
    "cached(bi_encoder % 5, 'x')": "bi_encoder % 5 is not a literal or a stage",
    "cached(bm25 >> bi_encoder, 'x')": "bm25 >> bi_encoder is not a literal or a stage",
    "hybrid(bm25, dense, method='x')": "method is 'x', expected one of rrf, weighted",
    "mono_t5('m', max_length=1)": "mono_t5 cannot be made: max_length is 1, expected 16 or more tokens",
    "cross_encoder('/no/such/model')": "cross_encoder: cannot load '/no/such/model': there is no such folder",
    "bm25 % 9 >> bi_encoder % 5 >> fused(bm25=1)": (
        "'bi_encoder % 5' is cut before it is fused; the cut-off comes last: bi_encoder >> fused(...) % 5"
    ),
    "bm25 % 9 >> bi_encoder >> fused(bm25=1) % 0": "'0' is not a cut-off, expected a whole number of 1 or more",
    "bm25 % 9 >> fused(bm25=1) >> bi_encoder % 5": "'fused(bm25=1)' is not the end of the line, after two stages or more",
    "fused(bm25=1)": "'fused(bm25=1)' is not the end of the line, after two stages or more",
    "hybrid(bm25, fused(bm25=1))": "'fused(bm25=1)' is not the end of the line, after two stages or more",
    "bm25 % 9 >> bi_encoder >> fused(bm25, bi_encoder)": (
        "'fused(bm25, bi_encoder)' needs the names of stages, each once and with a number, as in fused(bm25=0.4, bi_encoder=0.6)"
    ),
    "bm25 % 9 >> bi_encoder >> fused(bm25=1, bm25=2)": "needs the names of stages, each once and with a number",
    "bm25 % 9 >> bi_encoder >> fused(**{'bm25': 1})": "needs the names of stages, each once and with a number",
    "bm25 % 9 >> bi_encoder >> fused(bm25=one)": "needs the names of stages, each once and with a number",
    "bm25 % 9 >> bi_encoder >> fused(bm25=-1)": "the stages cannot be fused: the weight of 'bm25' is -1, expected 0 or more",
    "bm25 % 9 >> bi_encoder >> fused(bm25=1, method='sum')": "method is 'sum', expected one of rrf, weighted",
    "__import__('os').system('true')": "is not a stage; a line has stages, % and >>",
}


@pytest.mark.parametrize("line", WRONG)
def test_an_invalid_line_is_reported_before_anything_is_opened(line: str) -> None:
    """Golden messages; the missing collection is never opened, and the line is never run."""
    with pytest.raises(PipelineError) as error:
        parse_cascade(line, "/no/such/collection")
    assert any(WRONG[line] in problem for problem in error.value.problems)
    assert error.value.fix.startswith("parse_cascade(")


def test_all_problems_are_reported_at_once() -> None:
    """Once each, in the order of the line."""
    with pytest.raises(PipelineError) as error:
        parse_cascade("lucene % 0 >> lucene >> mono_t5", "/no/such/collection")
    said = ["'0' is not a cut-off", "there is no stage 'lucene'", "mono_t5: missing a required argument"]
    assert [problem[: len(words)] for problem, words in zip(error.value.problems, said, strict=True)] == said


BARE = st.sampled_from(sorted({*CATALOGUE} - {"cached", "passages", *PLAIN}))


@given(st.lists(st.tuples(BARE, st.none() | st.integers(1, 9999)), min_size=1, max_size=50))
def test_stages_with_cut_offs_are_a_line_without_problems(parts: list[tuple[str, int | None]]) -> None:
    """Any stages with any cut-offs, on one line or on several, read as the same tree."""
    lines = [join.join(name + (f" % {k}" if k else "") for name, k in parts) for join in (" >> ", "\n>> ")]
    assert len({recipes.ast.dump(recipes.check_line(line)) for line in lines}) == 1


@pytest.mark.parametrize("shape", [None, 5, b"bm25"])
def test_a_line_that_is_not_text_is_reported(shape: object) -> None:
    """As an error of ours."""
    with pytest.raises(PipelineError, match=r"this line is not a cascade: it is .*expected a line of text"):
        parse_cascade(shape, "pydocs")  # type: ignore[arg-type]


@pytest.mark.usefixtures("cache")
def test_what_stands_in_quotes_stays_as_it_is(model: str) -> None:
    """A prompt is part of the score, whatever is written in it."""
    cascade = parse_cascade(f"bm25 % 5 >> cross_encoder({model!r}, prompt='50% off → now · yes \\'·\\' >> ') % 2", animals())
    assert cascade[1].transformers[1].prompt == "50% off → now · yes '·' >> "


@pytest.mark.usefixtures("cache")
def test_a_retriever_finds_as_many_as_its_cut_off_lets_pass() -> None:
    """Otherwise a cut-off beyond 1000 would have no effect, without a warning; golden: PISA's and the stage's own setting."""
    for line, found in (("bm25 % 2500", 2500), ("bm25 % 5", 1000), ("bm25(num_results=7) % 5", 7), ("bm25", 1000)):
        assert parse_cascade(line, animals())[0].transformers[0].retriever.num_results == found
    for line, found in (("hybrid(bm25, bm25 % 7) % 2500", [2500, 1000]), ("hybrid(bm25, bm25(num_results=9)) % 5", [1000, 9])):
        branches = parse_cascade(line, animals())[0].transformers[0].retrievers
        bare = [branch[0] if isinstance(branch, pt.Compose) else branch for branch in branches]
        assert [getattr(one, "retriever", one).num_results for one in bare] == found


@pytest.mark.usefixtures("cache")
def test_a_missing_model_is_reported_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised before the index is built."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.setattr(recipes, "store_index", lambda *_, **__: pytest.fail("an index is built"))
    with pytest.raises(MissingError, match="mono_t5: cannot load"):
        parse_cascade(f"bm25 % 5 >> mono_t5({str(tmp_path / 'model')!r})", animals())


@given(st.text())
def test_any_text_is_a_cascade_or_an_error_of_ours(line: str) -> None:
    """Nothing else comes of it, and nothing is built."""
    with suppress(PipelineError):
        recipes.check_line(line)


# --- the catalogue


def test_the_catalogue_lists_every_stage() -> None:
    """What the package exports as a stage, all of it: each with a sentence, its arguments, and what its scores depend on."""
    frame = list_stages()
    assert {*frame["stage"]} == {*stages.__all__} - {"build_index", "build_texts", "build_vectors", "list_stages", "text_loader"}
    assert all(entry.make is getattr(stages, name) for name, entry in CATALOGUE.items())
    assert frame["does"].str.endswith(".").all()
    assert (frame["does"].str.len() > 20).all()
    for name, entry in CATALOGUE.items():
        assert all(f"{argument}" in entry.arguments for argument in inspect.signature(entry.make).parameters), name


def test_the_catalogue_says_what_the_stages_say() -> None:
    """What a score depends on, there and in the stage that is made; golden: the class attributes that a cascade reads."""
    words = {"pointwise": listing.POINT, "pairwise": listing.PAIR}
    for name in ("cross_encoder", "mono_t5", "duo_t5"):
        made = CATALOGUE[name].make("org/name")
        assert words[made.depends] == CATALOGUE[name].depends
        assert {field.name for field in fields(made)} <= {*inspect.signature(CATALOGUE[name].make).parameters}
        assert made.stage_name == name


@pytest.mark.parametrize(("there", "lacks"), [({"java"}, ""), ({"pyterrier_pisa"}, ""), (set(), "pyterrier-pisa")])
def test_one_of_several_engines_is_enough(there: set[str], lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """BM25 is ready with PISA or with Java; with neither it names the smaller step."""
    monkeypatch.setattr(listing, "_is_there", lambda package: package in there)
    assert CATALOGUE["bm25"].lacks == lacks


def test_java_is_searched_as_a_shell_searches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the path, or at JAVA_HOME."""
    monkeypatch.setattr(listing.shutil, "which", lambda _: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert not listing._is_there("java")
    monkeypatch.setenv("JAVA_HOME", "/somewhere")
    assert listing._is_there("java")


def test_the_command_lists_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its arguments and what its scores depend on; one by name with all that is documented."""
    assert main(["stages"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}(" in said for name in CATALOGUE)
    assert said.count("a score depends on: ") == len(CATALOGUE)
    assert max(map(len, said.splitlines())) <= 110
    assert main(["stages", "duo_t5"]) == 0
    said = capsys.readouterr().out
    assert not re.search(r"``|>>>|\bArgs:", said)
    arguments = re.findall(r"^  (\w+)(?: \(default: (.*)\))?$", said.partition("Arguments:")[2], re.MULTILINE)
    own = inspect.signature(CATALOGUE["duo_t5"].make).parameters.values()
    assert sorted(arguments) == sorted((one.name, "" if one.default is one.empty else str(one.default)) for one in own)
    assert sorted(LINES) == sorted(CATALOGUE)
    for line in LINES.values():
        recipes.check_line(line)


def test_an_unknown_stage_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and one line."""
    assert main(["stages", "lucene"]) == 1
    assert capsys.readouterr().err.startswith("pt-cascade stages: there is no stage 'lucene': expected one of bm25, dense")


def test_missing_packages_are_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By the name that pip knows."""
    monkeypatch.setattr(listing, "_is_there", lambda _: False)
    main(["stages"])
    said = capsys.readouterr().out
    assert "not installed: pyterrier-pisa\n" in said
    assert "not installed: openai\n" in said
