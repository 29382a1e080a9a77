"""Keys of kept scores: equal where what was read is equal, and only there."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.stages.keys import Keys, list_keys, pair_keys

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
    keys = pair_keys(results, reads, "salt")
    told = [(row["query"], *(row[name] for name in reads)) for _, row in results.iterrows()]
    assert [told.index(one) for one in told] == keys.row[keys.key].tolist()
    assert len(set(named(keys))) == len(keys.row) == len(set(told))
    assert named(keys) == [named(pair_keys(results.iloc[[n]], reads, "salt"))[0] for n in range(len(rows))]


@given(ROWS, st.randoms(use_true_random=False))
def test_lists_have_one_group_if_and_only_if_they_are_equal(rows: list[tuple[int, str, str]], dice: object) -> None:
    """Oracle: tuples of query, texts and ranks in row order, queries mixed; of equal lists the first speaks, with all its rows."""
    dice.shuffle(rows)
    results = frame(rows)
    keys = list_keys(results, ("text",), "salt")
    lists = {qid: (some["query"].iloc[0], *zip(some["text"], some["rank"], strict=True)) for qid, some in results.groupby("qid")}
    appeared = list(dict.fromkeys(results["qid"]))
    speakers = {next(qid for qid in appeared if lists[qid] == one) for one in lists.values()}
    assert keys.row.tolist() == np.flatnonzero(results["qid"].isin(speakers)).tolist()
    assert len(keys.row) == len(set(named(keys)))
    assert [item for _, item in named(keys)] == results["rank"].tolist()
    groups = {qid: {group for (group, _), mine in zip(named(keys), results["qid"], strict=True) if mine == qid} for qid in lists}
    for one, other in product(lists, lists):
        assert (groups[one] == groups[other]) == (lists[one] == lists[other])
    assert {len(each) for each in groups.values()} == {1}


def _measured(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(len(part).to_bytes(8, "big") + part for part in parts), digest_size=16).digest()


def test_keys_are_what_they_are_said_to_be() -> None:
    """Golden: blake2b of hashlib over lengths and parts, written out here; whoever changes it loses every store."""
    results = frame([(1, "lion", "u")])
    document = _measured(b"", _measured(b"text", b"lion"))
    assert named(pair_keys(results, ("text",), "salt")) == [
        (_measured(b"salt", b"pair", b"q"), int.from_bytes(document[:8], "big", signed=True))
    ]
    assert named(list_keys(results, ("text",), "salt")) == [(_measured(b"salt", b"list", b"q", document, bytes(8)), 0)]


@pytest.mark.parametrize("make", [pair_keys, list_keys])
def test_the_stage_is_part_of_the_key(make: object) -> None:
    """The same rows have other groups under another salt."""
    results = frame([(1, "lion", "u"), (3, "lion", "u")])
    assert not set(make(results, ("text",), "one").groups) & set(make(results, ("text",), "two").groups)


def test_a_missing_value_is_not_the_word_for_it() -> None:
    """An absent instruction is not the instruction "nan"; a number and its text are one document."""
    results = frame([(1, "a", "u")] * 3).assign(url=pd.Series([np.nan, "nan", None], dtype=object))
    keys = pair_keys(results, ("url",), "")
    assert keys.key.tolist() == [0, 1, 0]
    one, two = (pair_keys(results.head(1).assign(docno=docno), ("docno",), "") for docno in (7, "7"))
    assert named(one) == named(two)


def test_a_store_is_given_the_groups_that_are_wanted() -> None:
    """``take`` gives groups without gaps, and for each key the number of its own."""
    keys = pair_keys(frame([(1, "a", "u"), (3, "a", "u"), (3, "b", "u")]), ("text",), "")
    groups, group, item = keys.take(np.array([2, 1]))
    assert groups == [keys.groups[1]]
    assert (group.tolist(), item.tolist()) == ([0, 0], keys.item[[2, 1]].tolist())
