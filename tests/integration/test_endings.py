"""What follows the last stage: only what is known to keep the ranking may stand there when a table is made."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest

from pt_cascade import Cascade, finish, run, score
from pt_cascade.errors import PipelineError

ASKED = pd.DataFrame({"qid": ["1", "2"], "query": ["x", "y"]})
FOUND = pd.DataFrame([(q, f"d{i}", 9.0 - i, i) for q in "12" for i in range(9)], columns=["qid", "docno", "score", "rank"])
RUN = pt.Transformer.from_df(FOUND)
SCORER = pt.apply.doc_score(lambda row: float(int(row["docno"][1:]) * 7 % 5))
TEXT = pt.apply.text(lambda row: "text of " + row["docno"])
ENDINGS = {
    "threshold": lambda df: df[df["score"] > 2],
    "boost": lambda df: pt.model.add_ranks(df.assign(score=df["score"] + 9 * (df["docno"] == "d3"))),
    "one of each score": lambda df: pt.model.add_ranks(df.drop_duplicates(["qid", "score"])),
    "clip": lambda df: pt.model.add_ranks(df.assign(score=df["score"].clip(upper=3.0))),
    "head": lambda df: df[df["rank"] < 2],
    "threshold on a text": lambda df: df[df.get("text", df["docno"]) != "text of d3"],
}
BEFORE = {"a re-ranker": RUN % 9 >> TEXT >> SCORER % 6, "no cut-off": RUN % 9 >> TEXT >> SCORER, "a retriever": RUN % 6}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's chunks to itself."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


def rows(results: pd.DataFrame) -> list[list[object]]:
    """A ranking by qid and rank."""
    return results.sort_values(["qid", "rank"])[["qid", "docno", "score", "rank"]].to_numpy().tolist()


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_function_at_the_end_is_refused_and_finished(ending: str, before: str) -> None:
    """A table would replay the ranking without it. Golden: the plain pipeline, at its own cut-offs and below."""
    pipeline = BEFORE[before] >> pt.apply.generic(ENDINGS[ending])
    cascade = Cascade.of(pipeline)
    with pytest.raises(PipelineError) as error:
        score(pipeline, ASKED)
    assert "pt.apply.generic() after the last stage may change its rows or scores, which no replay would show; finish(" in str(
        error.value
    )
    cure = re.fullmatch(r"score the stages before it, e\.g\. score\(cascade\.prefix\((\d)\), topics\)", error.value.fix)
    assert cure
    table = score(cascade.prefix(int(cure[1])), ASKED)
    assert rows(finish(table, pipeline)) == rows(pipeline.transform(ASKED)) == rows(run(pipeline, ASKED).results)
    for cutoffs in ((4, 3)[: len(cascade)], (9, 1)[: len(cascade)] if before != "a retriever" else (1,)):
        live = cascade.with_cutoffs(*cutoffs).pipeline().transform(ASKED)
        assert rows(finish(table, cascade, cutoffs)) == rows(live)


def test_what_is_known_to_keep_the_ranking_is_scored() -> None:
    """Loaders, functions of one row that write another column, and what says so of itself."""
    declared = pt.apply.generic(lambda df: df.assign(shout=df["docno"].str.upper()))
    declared.documents = "reranks"
    pipeline = BEFORE["a re-ranker"] >> TEXT >> pt.apply.url(lambda row: row["docno"]) >> declared
    table = score(pipeline, ASKED)
    live = pipeline.transform(ASKED)
    assert rows(table.replay((9, 6))) == rows(live)
    pd.testing.assert_frame_equal(
        finish(table, pipeline)[["docno", "text", "url", "shout"]], live[["docno", "text", "url", "shout"]]
    )


def test_a_function_of_one_row_that_writes_ranks_is_refused() -> None:
    """It is known by its class, but turns the ranking around."""
    with pytest.raises(PipelineError, match=r"pt\.apply\.rank\(.*\) after the last stage may change its rows or scores"):
        score(RUN % 9 >> SCORER % 6 >> pt.apply.rank(lambda row: 5 - row["rank"]), ASKED)
