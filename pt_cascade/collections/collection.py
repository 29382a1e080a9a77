"""A collection: documents to search, queries to ask, and which documents were judged relevant to them."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from pt_cascade.errors import CollectionError
from pt_cascade.frames import canonical_qrels, canonical_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd


class Documents(Protocol):
    """Where documents come from: a list of records will do; what reads a file streams it."""

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Give each document from the first, as often as asked: its docno and text."""

    def __len__(self) -> int:
        """Count them."""


class _Reading:
    """Documents being read, of which the number is known; the end is an error if they are not those of the first reading."""

    def __init__(self, collection: Collection) -> None:
        """Begin with none read."""
        self.collection = collection
        self.documents = iter(collection.documents)
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[dict[str, str]]:
        return self

    def __next__(self) -> dict[str, str]:
        if (document := next(self.documents, None)) is not None:
            self.digest.update(_line(document["docno"], document["text"]))
            return {"docno": document["docno"], "text": document["text"]}
        found, name = self.digest.hexdigest(), self.collection.name
        if (first := self.collection.read_before.setdefault("documents", found)) != found:
            problem = f"the SHA-256 of docnos and texts is {found[:16]}..., was {first[:16]}... when they were first read"
            fix = f"open_collection({name!r}) once more, when nothing writes to it"
            raise CollectionError(f"the documents of collection {name!r} have changed while it is used", [problem], fix=fix)
        raise StopIteration

    def __length_hint__(self) -> int:
        return len(self.collection)


@dataclass(frozen=True, eq=False)
class Collection:
    """Documents, queries and judgments under one name.

    Attributes:
        name: What ``open_collection`` opens again; the built-in ones say their package versions in it.
        topics: Frame[qid: str, query: str].
        qrels: Frame[qid: str, docno: str, label: int64]. Queries that are no topic and documents that are not here may be judged.
        documents: The source of ``docs()``.
        language: What its index is built for, see ``stages.build_index``; ``dataclasses.replace(collection, language="french")``.
        read_before: The SHA-256 of the ``documents`` that were read; none before they were read to the end.

    Example:
        >>> import pandas as pd
        >>> topics = pd.DataFrame({"qid": ["1", "2"], "query": ["running total", "unjudged"]})
        >>> qrels = pd.DataFrame({"qid": ["1"], "docno": ["cumsum"], "label": [2]})
        >>> toy = make_collection("toy", topics, qrels, [{"docno": "cumsum", "text": "Cumulative sum."}])
        >>> len(toy), [document["docno"] for document in toy.docs()], toy.judged()["qid"].tolist()
        (1, ['cumsum'], ['1'])
    """

    name: str
    topics: pd.DataFrame
    qrels: pd.DataFrame
    documents: Documents
    language: str = "english"
    read_before: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def docs(self) -> Iterator[dict[str, str]]:
        """Give each document as a fresh dict of docno and text, as an indexer takes it; a progress bar learns how many.

        Raises:
            CollectionError: After the last one: they are not the documents that were read, or fingerprinted, before.
        """
        return _Reading(self)

    def __len__(self) -> int:
        """Count the documents."""
        return len(self.documents)

    def judged(self, n: int | None = None) -> pd.DataFrame:
        """Give the topics that have judgments, in their order.

        Args:
            n: The first so many, 1 or more; all where None.

        Returns:
            Frame[qid, query], at most n rows.

        Raises:
            CollectionError: n is below 1.
        """
        if n is not None and n < 1:
            raise CollectionError("cannot take so few topics", [f"n is {n}, expected 1 or more"], fix="collection.judged(50)")
        judged = self.topics[self.topics["qid"].isin(self.qrels["qid"])]
        return judged.head(len(judged) if n is None else n).reset_index(drop=True)

    @cached_property
    def fingerprint(self) -> str:
        """What names the content, 64 hex digits: another one as soon as a document, query, judgment or their order changes.

        The first call reads every document. The name, the place and how files are packed do not count.
        """
        deque(reading := _Reading(self), 0)
        digest = reading.digest
        for frame, columns in ((self.topics, ["qid", "query"]), (self.qrels, ["qid", "docno", "label"])):
            digest.update(_line(*columns))
            for row in zip(*(frame[column].tolist() for column in columns), strict=True):
                digest.update(_line(*row))
        return digest.hexdigest()


def make_collection(name: str, topics: pd.DataFrame, qrels: pd.DataFrame, documents: Documents) -> Collection:
    """Make a collection of frames that are checked and cut to their columns.

    Args:
        name: What to call it.
        topics: Frame[qid, query, ...].
        qrels: Frame[qid, docno, label, ...].
        documents: A list of ``{"docno": ..., "text": ...}``, or anything that gives such dicts, again each time, and has a length.

    Returns:
        The collection.

    Raises:
        FrameError: The topics or the qrels are not usable.
        CollectionError: No topic has a judgment.
    """
    asked = canonical_topics(topics)[["qid", "query"]].reset_index(drop=True)
    known = canonical_qrels(qrels)[["qid", "docno", "label"]].reset_index(drop=True)
    if problem := unjudged(asked, known):
        raise CollectionError(f"collection {name!r} cannot be evaluated", [problem])
    return Collection(name, asked, known, documents)


def unjudged(topics: pd.DataFrame, qrels: pd.DataFrame) -> str:
    """Say what is wrong where no topic has a judgment; nothing where one has."""
    if topics["qid"].isin(qrels["qid"]).any():
        return ""
    asked, known = (f"{frame['qid'].nunique()} qid(s){_example(frame)}" for frame in (topics, qrels))
    return f"no topic has a judgment: topics have {asked}, qrels have {known}"


def join_title(title: str, text: str) -> str:
    """Put a title before its text, once: as it is where the text opens with the title already, as in many collections."""
    if not text:
        return title
    after = text[len(title) : len(title) + 1]
    opens = text.startswith(title) and not (title[-1:].isalnum() and after.isalnum())
    return text if opens else f"{title} {text}"


def _example(frame: pd.DataFrame) -> str:
    return f" such as {frame['qid'].iloc[0]!r}" if len(frame) else ""


def _line(*cells: str | int) -> bytes:
    return json.dumps(cells).encode() + b"\n"
