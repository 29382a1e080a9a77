"""What a stage says of two documents is kept under what it read, asked for once, and never mixed with another stage's."""

from __future__ import annotations

import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from duellists import Asked, Duellist
from hypothesis import given
from hypothesis import strategies as st
from storing import MEMORY

from pt_cascade.errors import StageError, StoreError
from pt_cascade.stages.cached import cached
from pt_cascade.stages.kept_duels import KeptDuels, duel_keys
from pt_cascade.stages.pairwise import list_pairs
from pt_cascade.stages.store import ScoreStore

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def frame(*texts: str, query: str = "q") -> pd.DataFrame:
    """Make results of one query."""
    return pd.DataFrame({"qid": "1", "query": query, "docno": [f"d{n}" for n in range(len(texts))], "text": list(texts)})


@dataclass(frozen=True)
class Texts(Duellist):
    """Compares by the texts."""

    def needs(self) -> list[str]:
        """It reads the texts."""
        return ["query", "text"]

    def compare(self, results: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Compare texts as if they were docnos."""
        return super().compare(results.assign(docno=results["text"]), first, second)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from("abc")), min_size=2, max_size=7),
    st.lists(PAIRS, max_size=3),
    st.integers(1, 5),
)
def test_kept_comparisons_are_those_of_the_stage(
    rows: list[tuple[int, str]], asked: list[list[tuple[int, int]]], size: int
) -> None:
    """Oracle: the bare stage, bit for bit, for any pairs in any micro-batches, again and again; each (query, texts) once."""
    made = pd.DataFrame([(f"{q}", f"query {min(q, 2)}", f"d{n}", text) for n, (q, text) in enumerate(rows)])
    results = made.set_axis(["qid", "query", "docno", "text"], axis=1)
    log = Asked()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        kept = KeptDuels(Texts(log=log), f"{folder}/s", size)
        told = set()
        for pairs in (*asked, *asked):
            apart = [(i, j) for i, j in pairs if max(i, j) < len(rows) and i != j and rows[i][0] == rows[j][0]]
            first, second = (np.array([pair[n] for pair in apart], np.int64) for n in (0, 1))
            assert kept.compare(results, first, second).tobytes() == Texts().compare(results, first, second).tobytes()
            told |= {(results["query"][i], rows[i][1], rows[j][1]) for i, j in apart}
        assert len(log.duels) == len(told) == ScoreStore(kept.path, {}).count()
        assert max(map(len, log.calls), default=0) <= size


def test_keys_of_comparisons(tmp_path: Path) -> None:
    """Golden, by hand: order, query and texts count; docnos, where texts are read, and rows do not."""
    del tmp_path
    results = frame("lion", "tiger", "lion")
    first, second = np.array([0, 1, 2, 0, 1]), np.array([1, 0, 1, 2, 2])
    assert duel_keys(results, ["text"], first, second, "s").key.tolist() == [0, 1, 0, 2, 1]
    assert duel_keys(results, ["docno"], first, second, "s").key.tolist() == [0, 1, 2, 3, 4]
    mine = duel_keys(results, ["text"], first, second, "s")
    for other in (frame("lion", "tiger", "lion", query="r"), results):
        theirs = duel_keys(other, ["text"], first, second, "s" if other is not results else "t")
        assert not {*mine.groups} & {*theirs.groups}


def test_it_is_not_the_stage_whose_whole_lists_are_kept(tmp_path: Path) -> None:
    """A file of lists is refused for comparisons, another seed too; another aggregation shares it."""
    results = frame("a", "b", "c")
    first, second = list_pairs(results["qid"])
    cached(Texts(), tmp_path / "lists").transform(results)
    with pytest.raises(StoreError, match="are of another stage"):
        KeptDuels(Texts(), str(tmp_path / "lists")).compare(results, first, second)
    KeptDuels(Texts(), str(tmp_path / "duels")).compare(results, first, second)
    with pytest.raises(StoreError, match="its seed is 1, expected 2"):
        KeptDuels(Texts(seed=2), str(tmp_path / "duels")).compare(results, first, second)
    log = Asked()
    KeptDuels(Texts("max", log=log), str(tmp_path / "duels")).compare(results, first, second)
    assert not log.calls


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.5])
def test_what_is_no_probability_is_not_kept(tmp_path: Path, bad: float) -> None:
    """Refused with the pair; nothing of that micro-batch is kept, and what was kept before is."""

    class Bad(Texts):
        """Gives something else for one pair."""

        def compare(self, results: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> np.ndarray:
            """Spoil d2 against d0."""
            return np.where((first == 2) & (second == 0), bad, super().compare(results, first, second))

    results = frame("a", "b", "c")
    kept = KeptDuels(Bad(), str(tmp_path / "s"), 4)
    with pytest.raises(StageError, match=r"gave comparisons that are not usable: 1 of 2 .*p\('d2' beats 'd0'\)"):
        kept.compare(results, *list_pairs(results["qid"]))
    assert ScoreStore(kept.path, {}).count() == 4


@dataclass(frozen=True)
class Modelled(Texts):
    """A duellist with a model in a file."""

    model: str = ""


def test_a_model_that_was_written_to_is_refused(tmp_path: Path) -> None:
    """After it compared, its files are others: nobody knows whose answers these are."""
    weights = tmp_path / "model" / "weights"
    weights.parent.mkdir()
    weights.write_bytes(b"old")
    results = frame("a", "b")
    kept = KeptDuels(Modelled(model=str(weights.parent)), str(tmp_path / "s"))
    kept.compare(results, np.array([0]), np.array([1]))
    weights.write_bytes(b"new")
    with pytest.raises(StageError, match="written to after it loaded them"):
        kept.compare(results, np.array([1]), np.array([0]))


def test_it_ranks_as_the_stage_and_travels_in_a_pickle(tmp_path: Path) -> None:
    """The stage itself ranks a frame; a copy is equal, and stands for the same stage."""
    kept = KeptDuels(Texts(), str(tmp_path / "s"))
    results = frame("a", "b", "c")
    pd.testing.assert_frame_equal(kept.transform(results), Texts().transform(results))
    assert not (tmp_path / "s").exists()
    copy = pickle.loads(pickle.dumps(kept))  # noqa: S301 - our own
    assert (copy, copy.stands_for, copy.needs(), copy.reads()) == (kept, Texts(), ["query", "text"], ["text"])
