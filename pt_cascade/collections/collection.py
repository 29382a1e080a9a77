"""A test collection: documents, topics and qrels."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Sized
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from pt_cascade.errors import CollectionError
from pt_cascade.frames import canonical_qrels, canonical_topics
from pt_cascade.numbers import count_of, is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    import pyterrier as pt


class Documents(Sized, Iterable[dict[str, str]], Protocol):
    """Dicts of docno and text that can be read repeatedly, e.g. a list, or a reader of a file."""


class _Reading:
    """An iterator over documents that raises an error at the end if they differ from those of the first reading."""

    def __init__(self, collection: Collection) -> None:
        """Start with the first document."""
        self.collection = collection
        self.documents = iter(collection.documents)
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[dict[str, str]]:
        return self

    def __next__(self) -> dict[str, str]:
        if (document := next(self.documents, None)) is not None:
            self.digest.update(to_line(document["docno"], document["text"]))
            return {"docno": document["docno"], "text": document["text"]}
        found, name = self.digest.hexdigest(), self.collection.name
        if (first := self.collection.read_before.setdefault("documents", found)) != found:
            problem = f"the SHA-256 of docnos and texts is {found[:16]}..., was {first[:16]}... when they were first read"
            fix = f"open_collection({name!r}) again, when nothing writes to it"
            raise CollectionError(f"the documents of collection {name!r} have changed since it was opened", [problem], fix=fix)
        raise StopIteration

    def __length_hint__(self) -> int:
        return len(self.collection)


@dataclass(frozen=True, eq=False)
class Collection:
    """Documents, topics and qrels under one name.

    Attributes:
        name: ``open_collection(name)`` opens it again; built-in collections have their package versions in it.
        topics: Frame[qid: str, query: str].
        qrels: Frame[qid: str, docno: str, label: int64]; qids and docnos outside the collection are allowed.
        documents: The source of ``docs()``.
        language: Of its index, see ``stages.build_index``; ``dataclasses.replace(collection, language="french")`` changes it.
        read_before: The SHA-256 of the documents once they were read to the end.

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
        """Yield each document as a new dict of docno and text, with a length hint for progress bars.

        Raises:
            CollectionError: After the last one, if the documents have changed since they were read before.
        """
        return _Reading(self)

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.documents)

    def judged(self, n: int | None = None) -> pd.DataFrame:
        """Return the topics with judgments, Frame[qid, query]: the first n, 1 or more, or all.

        Raises:
            CollectionError: n is below 1.
        """
        if n is not None and not is_whole(n, 1):
            problem = f"n is {n!r}, expected a whole number, 1 or more"
            raise CollectionError("the number of topics is not valid", [problem], fix="collection.judged(50)")
        judged = self.topics[self.topics["qid"].isin(self.qrels["qid"])]
        return judged.head(len(judged) if n is None else n).reset_index(drop=True)

    def text_loader(self, fields: str | Sequence[str] = "*", *, verbose: bool = False) -> pt.Transformer:  # noqa: ARG002 - PyTerrier's
        """Return a transformer that adds the text of each document; ``pt.text.get_text(collection)`` returns it too.

        Args:
            fields: ``*`` or ``text``, the only field that a document has.
            verbose: Not used; all texts are read at once.

        Returns:
            A transformer: Frame[docno, ...] to the same rows with the column text. A document that the collection does not have
            is a StageError.

        Raises:
            CollectionError: Another field was asked for.

        Example:
            >>> import pandas as pd
            >>> from pt_cascade.collections import open_collection
            >>> found = pd.DataFrame({"qid": ["1"], "query": ["cumulative sum"], "docno": ["numpy.cumsum"]})
            >>> "cumulative" in open_collection("pydocs").text_loader().transform(found)["text"].item()
            True
        """
        if fields not in ("*", "text", ["text"]):
            raise CollectionError(f"collection {self.name!r} has the field text, not {fields!r}", fix="collection.text_loader()")
        from pt_cascade.collections.texts import TextLoader  # noqa: PLC0415 - PyTerrier takes a second to load

        return TextLoader(self)

    def find_texts(self, docnos: Iterable[str]) -> dict[str, str]:
        """Look up the texts of some documents, those that are there; all texts stay in memory then."""
        return {docno: self._texts[docno] for docno in docnos if docno in self._texts}

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {document["docno"]: document["text"] for document in self.docs()}

    def __getstate__(self) -> dict[str, object]:
        """Pickle no texts that were read."""
        return {name: value for name, value in vars(self).items() if name != "_texts"}

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of docnos and texts in their order; the first call reads every document."""
        deque(reading := _Reading(self), 0)
        return reading.digest.hexdigest()


def make_collection(name: str, topics: pd.DataFrame, qrels: pd.DataFrame, documents: Documents) -> Collection:
    """Make a collection from checked frames.

    Args:
        name: Its name.
        topics: Frame[qid, query, ...].
        qrels: Frame[qid, docno, label, ...].
        documents: Dicts ``{"docno": ..., "text": ...}``, in a list or anything else with a length that can be read repeatedly.

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
    """Return a problem if no topic has a judgment, else an empty text."""
    if topics["qid"].isin(qrels["qid"]).any():
        return ""
    asked, known = (f"{count_of(frame['qid'].nunique(), 'qid')}{_example(frame)}" for frame in (topics, qrels))
    return f"no topic has a judgment: topics have {asked}, qrels have {known}"


def join_title(title: str, text: str) -> str:
    """Join title and text as BEIR does, without repeating a title that the text begins with (nDCG@10 on SciFact .678, not .683)."""
    if not text:
        return title
    after = text[len(title) : len(title) + 1]
    opens = text.startswith(title) and not (title[-1:].isalnum() and after.isalnum())
    return text if opens else f"{title} {text}"


def _example(frame: pd.DataFrame) -> str:
    return f" such as {frame['qid'].iloc[0]!r}" if len(frame) else ""


def to_line(*cells: str | int) -> bytes:
    """Write what is hashed as a line."""
    return json.dumps(cells).encode() + b"\n"
