"""Keys of the score cache: equal if and only if what was read is equal."""

from __future__ import annotations

import copy
import hashlib
from datetime import date
from decimal import Decimal
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.errors import FrameError
from pt_cascade.stages.base.pairwise import list_pairs
from pt_cascade.stages.scorecache.keys import Keys, comparison_keys, list_keys, point_keys

WORDS = st.sampled_from(["", "a", "ab", "b", "é", "\ud800", "a\0b", "nan", "None"])
ROWS = st.lists(st.tuples(st.integers(1, 3), WORDS, WORDS), min_size=1, max_size=8)


def frame(rows: list[tuple[int, str, str]]) -> pd.DataFrame:
    """Make results; a query has one text, two queries may have the same."""
    made = pd.DataFrame(rows, columns=["qid", "text", "url"], dtype=object).astype({"qid": int})
    return made.assign(query=made["qid"].map({1: "q", 2: "q", 3: "r"}), rank=made.groupby("qid").cumcount())


def named(keys: Keys) -> list[tuple[bytes, int]]:
    """Give the group and the item of each row."""
    return [(keys.groups[keys.group[key]], int(keys.item[key])) for key in keys.key]


@given(ROWS, st.sampled_from([("text",), ("text", "url"), ("url",), ()]))
def test_rows_have_one_key_if_and_only_if_what_is_read_is_equal(rows: list[tuple[int, str, str]], reads: tuple[str, ...]) -> None:
    """Oracle: tuples of query and what is read. Equal rows share a key, the first of them stands for it; each key once."""
    results = frame(rows)
    keys = point_keys(results, reads, "salt")
    read = [(row["query"], *(row[name] for name in reads)) for _, row in results.iterrows()]
    assert [read.index(one) for one in read] == keys.row[keys.key].tolist()
    assert len(set(named(keys))) == len(keys.row) == len(set(read))
    assert named(keys) == [named(point_keys(results.iloc[[n]], reads, "salt"))[0] for n in range(len(rows))]


@given(ROWS, st.randoms(use_true_random=False))
def test_lists_have_one_group_if_and_only_if_they_are_equal(rows: list[tuple[int, str, str]], dice: object) -> None:
    """Oracle: tuples of query, texts and ranks in row order, queries mixed; of equal lists the first is asked, with its rows."""
    dice.shuffle(rows)
    results = frame(rows)
    keys = list_keys(results, ("text",), "salt")
    lists = {qid: (some["query"].iloc[0], *zip(some["text"], some["rank"], strict=True)) for qid, some in results.groupby("qid")}
    appeared = list(dict.fromkeys(results["qid"]))
    asked = {next(qid for qid in appeared if lists[qid] == one) for one in lists.values()}
    assert keys.row.tolist() == np.flatnonzero(results["qid"].isin(asked)).tolist()
    assert len(keys.row) == len(set(named(keys)))
    assert [item for _, item in named(keys)] == results["rank"].tolist()
    groups = {qid: {group for (group, _), mine in zip(named(keys), results["qid"], strict=True) if mine == qid} for qid in lists}
    for one, other in product(lists, lists):
        assert (groups[one] == groups[other]) == (lists[one] == lists[other])
    assert {len(each) for each in groups.values()} == {1}


@given(ROWS)
def test_comparisons_have_one_key_if_and_only_if_query_and_both_documents_are_equal(rows: list[tuple[int, str, str]]) -> None:
    """Oracle: tuples of query, first and second document; the order of the two counts, the list around them does not."""
    results = frame(rows)
    first, second = list_pairs(results["qid"])
    keys = comparison_keys(results, ["text"], "stage", first, second)
    read = [(results["query"][one], results["text"][one], results["text"][two]) for one, two in zip(first, second, strict=True)]
    assert [read.index(one) for one in read] == keys.row[keys.key].tolist()
    assert len(set(named(keys))) == len(keys.row) == len(set(read))
    for n in range(len(first)):
        alone = comparison_keys(results, ["text"], "stage", first[[n]], second[[n]])
        assert named(alone) == [named(keys)[n]]


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def test_keys_are_hashes_of_what_is_read() -> None:
    """Golden: blake2b of hashlib over JSON, written out here; a change of these bytes makes every cache useless."""
    results = frame([(1, "lion", "u")])
    text, query, rank = _hash(b"slion"), _hash(b"sq"), _hash(b"j0")
    [(group, item)] = named(point_keys(results, ("text",), "stage"))
    assert group == _hash(b'["stage", "pointwise", "text"]' + query)
    assert item == int.from_bytes(text[:8], "little", signed=True)
    [(_, item)] = named(point_keys(results, ("url", "text"), "stage"))
    assert item == int.from_bytes(_hash(text + _hash(b"su"))[:8], "little", signed=True)
    [(group, item)] = named(list_keys(results, ("text",), "stage"))
    assert (group, item) == (_hash(b'["stage", "list", "query", "rank", "text"]' + _hash(query + rank + text)), 0)


CELLS = [
    *("", "a", "nan", "None", "\ud800", "a\0b", "a\0c", "1", 1, 1.0, True, -0.0, 0.0, np.nan, 2**70),
    *([], ["a", "b"], ["ab"], [["a"], "b"], {}, {"a": 1}, {"a": 2}, np.arange(3), np.arange(3.0), np.arange(3, dtype="f4")),
    *(np.arange(4), np.arange(4).reshape(2, 2), np.array(["a", None], object), np.array(["a", "b"], object), np.array(["a", "b"])),
]


def test_every_value_has_a_key_of_its_own() -> None:
    """All kinds of cells differ from each other, arrays by type, shape and content; a copy of each is the same."""
    results = pd.DataFrame({"qid": "1", "query": "q", "cell": pd.Series(CELLS, dtype=object)})
    keys = point_keys(results, ["cell"], "")
    assert keys.key.tolist() == [*range(len(CELLS))]
    assert len(set(named(keys))) == len(CELLS)
    assert named(point_keys(copy.deepcopy(results), ["cell"], "")) == named(keys)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pd.Series([1, 2]), pd.Series([1, 2], dtype=object)),
        (pd.Series([0.1, 0.2], dtype="f4"), pd.Series(np.array([0.1, 0.2], "f4").astype(float))),
        (pd.Series(["a", None], dtype="str"), pd.Series(["a", pd.NA], dtype=object)),
        (pd.Series(["a\0b", "a\0c"], dtype="str"), pd.Series(["a\0b", "a\0c"], dtype=object)),
        (pd.Series(["a", "b"], dtype="category"), pd.Series([np.str_("a"), "b"], dtype=object)),
        (pd.Series([1, None], dtype="Int64"), pd.Series([np.int8(1), pd.NaT], dtype=object)),
    ],
)
def test_the_type_of_a_column_does_not_count(one: pd.Series, other: pd.Series) -> None:
    """What is equal in value has one key, however pandas keeps it."""
    results = pd.DataFrame({"qid": "1", "query": ["q", "q"]})
    keys = point_keys(results.assign(cell=one), ["cell"], "")
    assert named(keys) == named(point_keys(results.assign(cell=other), ["cell"], ""))
    assert keys.key.tolist() == [0, 1]


@pytest.mark.parametrize(
    "cell",
    [object(), b"1", {1}, date(2020, 1, 1), pd.Timestamp(2020, 1, 1), Decimal("1.0"), np.timedelta64(1, "s"), np.longdouble("0.1")],
)
def test_what_json_cannot_write_is_refused(cell: object) -> None:
    """An error that names the column, and the cure gives a key."""
    results = frame([(1, "lion", "u")]).assign(cell=pd.Series([cell], dtype=object))
    with pytest.raises(FrameError, match=rf"column cell holds .* \({type(cell).__name__}\), expected text") as refused:
        point_keys(results, ["cell"], "")
    assert refused.value.fix == "cached(stage, path, reads=['the columns that the stage reads'])"


def test_the_order_of_columns_does_not_count_and_their_names_do() -> None:
    """Columns in another order tell the same document; another column of the same content tells another."""
    results = frame([(1, "lion", "lion")])
    one, other = (point_keys(results, reads, "") for reads in (("text", "url"), ("url", "text")))
    assert named(one) == named(other)
    assert named(point_keys(results, ["text"], "")) != named(point_keys(results, ["url"], ""))


def test_a_list_with_two_query_texts_is_another_list() -> None:
    """Rows of one qid with different queries are identified by all of them."""
    results = frame([(1, "a", "u"), (1, "b", "u")])
    other = results.assign(query=["q", "other"])
    assert not {*list_keys(results, ["text"], "").groups} & {*list_keys(other, ["text"], "").groups}


@pytest.mark.parametrize("rank", [[np.nan, 1.0], ["0", "1"], [0.5, 1.0]])
def test_ranks_of_any_kind_tell_a_list(rank: list[object]) -> None:
    """A rank that is missing or text is no error of the keys."""
    results = frame([(1, "a", "u"), (1, "b", "u")])
    other = list_keys(results.assign(rank=rank), ["text"], "")
    assert other.groups != list_keys(results, ["text"], "").groups


@pytest.mark.parametrize("make", [point_keys, list_keys])
def test_the_stage_is_part_of_the_key(make: object) -> None:
    """The same rows have other groups under another salt."""
    results = frame([(1, "lion", "u"), (3, "lion", "u")])
    assert not set(make(results, ("text",), "one").groups) & set(make(results, ("text",), "two").groups)


def test_a_missing_value_is_not_the_word_for_it() -> None:
    """An absent instruction is not the instruction "nan", however it is absent."""
    results = frame([(1, "a", "u")] * 3).assign(url=pd.Series([np.nan, "nan", None], dtype=object))
    keys = point_keys(results, ("url",), "")
    assert keys.key.tolist() == [0, 1, 0]
