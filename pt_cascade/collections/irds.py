"""The datasets of ``pt.get_dataset``: ir_datasets as ``irds:beir/scifact/test``, PyTerrier's own as ``vaswani``.

A document or query of ir_datasets is its ``default_text``, else all text fields of the document, title first, and the field
``query``, ``text`` or ``title`` of the query. Documents are fetched when they are first read.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from pt_cascade.collections.collection import Collection, join_title, make_collection
from pt_cascade.errors import CascadeError, CollectionError, MissingError, few, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyterrier as pt
    from ir_datasets.datasets.base import Dataset

_QUERY_FIELDS = ("query", "text", "title")


@dataclass(frozen=True)
class DatasetDocuments:
    """The documents of a PyTerrier dataset, streamed at each reading."""

    name: str

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Yield each document; the first time, the dataset may fetch them."""
        dataset, inner = _dataset(self.name)
        with _fetching(self.name, "documents"):
            records = inner.docs_iter() if inner else dataset.get_corpus_iter(verbose=False)
            for record in records:
                yield _document(self.name, record)

    def __len__(self) -> int:
        """Return the number of documents, if the dataset does not know it by reading all."""
        inner = _dataset(self.name)[1]
        with _fetching(self.name, "documents"):
            count = inner.docs_count() if inner else None
        return sum(1 for _ in self) if count is None else count


def open_dataset(name: str) -> Collection:
    """Open a dataset by its name for ``pt.get_dataset``."""
    dataset, inner = _dataset(name)
    if inner:
        _require_parts(name, inner)
    with _fetching(name, "topics"):
        topics = _topics(name, inner) if inner else _query_column(name, dataset.get_topics())
    with _fetching(name, "qrels"):
        qrels = _qrels(name, inner) if inner else dataset.get_qrels()
    return make_collection(name, topics, qrels, DatasetDocuments(name))


def is_dataset(name: str) -> bool:
    """Whether PyTerrier knows a dataset of this name; nothing is fetched."""
    import pyterrier as pt  # noqa: PLC0415 - takes a second to load

    try:
        pt.get_dataset(name)
    except KeyError:
        return False
    return True


def list_datasets() -> list[str]:
    """List the names that PyTerrier knows."""
    import pyterrier as pt  # noqa: PLC0415 - as above

    return list(pt.datasets.list_datasets(en_only=False)["dataset"])


def _dataset(name: str) -> tuple[pt.datasets.Dataset, Dataset | None]:
    """Return PyTerrier's dataset, and its ir_datasets dataset if it has one."""
    import pyterrier as pt  # noqa: PLC0415 - as above

    dataset = pt.get_dataset(name)
    return dataset, dataset.irds_ref() if hasattr(dataset, "irds_ref") else None


def _require_parts(name: str, inner: Dataset) -> None:
    """Refuse a dataset without documents, topics or qrels; name complete ones below it."""
    has = {"documents": inner.has_docs(), "topics": inner.has_queries(), "qrels": inner.has_qrels()}
    if all(has.values()):
        return
    lacks = " and ".join(f"no {part}" for part, there in has.items() if not there)
    whole = list(_whole_below(name))
    fix = f"one of {', '.join(few(whole, 4))}" if whole else "pt.datasets.list_datasets() shows what each dataset has"
    problem = f"it has {lacks}, expected documents, topics and qrels"
    raise CollectionError(f"dataset {name!r} is not a test collection", [problem], fix=fix)


def _whole_below(name: str) -> Iterator[str]:
    import ir_datasets  # noqa: PLC0415 - as PyTerrier

    prefix = name.partition(":")[2] + "/"
    for key in sorted(key for key in ir_datasets.registry if key.startswith(prefix)):
        inner = ir_datasets.load(key)
        if inner.has_docs() and inner.has_queries() and inner.has_qrels():
            yield f"irds:{key}"


@contextmanager
def _fetching(name: str, part: str) -> Iterator[None]:
    """Turn the errors of downloads into one that names the dataset and the part."""
    try:
        yield
    except CascadeError:
        raise
    except NotImplementedError as error:
        problem = f"it has no {part}, expected documents, topics and qrels"
        raise CollectionError(f"dataset {name!r} is not a test collection", [problem]) from error
    except Exception as error:
        problem = f"{type(error).__name__}: {first_line(error)}"
        fix = "connect to the network, or copy the files to ~/.ir_datasets (irds:) or ~/.pyterrier; pydocs needs neither"
        raise MissingError(f"cannot fetch the {part} of dataset {name!r}", [problem], fix=fix) from error


def _document(name: str, record: Any) -> dict[str, str]:  # noqa: ANN401 - a named tuple of some dataset, or a dict
    fields = dict(record) if isinstance(record, dict) else record._asdict()
    docno, title = (fields.pop(key, "") for key in ("doc_id" if "doc_id" in fields else "docno", "title"))
    title = title if isinstance(title, str) else ""
    own = getattr(record, "default_text", None)
    parts = [own().removeprefix(title).lstrip()] if own else [text for text in fields.values() if isinstance(text, str)]
    if not isinstance(docno, str) or not docno or not (parts or title):
        found = ", ".join(f"{key}: {type(value).__name__}" for key, value in fields.items()) or "none"
        raise CollectionError(f"a document of {name!r} has no text", [f"docno {docno!r}, fields {found}; expected text"])
    return {"docno": docno, "text": join_title(title, " ".join(parts))}


def _topics(name: str, inner: Dataset) -> pd.DataFrame:
    """Return each query by its ``default_text``, else by its field."""
    records = list(inner.queries_iter())
    if records and hasattr(records[0], "default_text"):
        return pd.DataFrame(
            {"qid": [record.query_id for record in records], "query": [record.default_text() for record in records]}
        )
    return _query_column(name, pd.DataFrame([record._asdict() for record in records]).rename(columns={"query_id": "qid"}))


def _query_column(name: str, topics: pd.DataFrame) -> pd.DataFrame:
    """Return the qid and the field query, text or title, else the only one."""
    fields = [str(column) for column in topics.columns if column != "qid"]
    field = next((field for field in _QUERY_FIELDS if field in fields), fields[0] if len(fields) == 1 else None)
    if field is None:
        problem = f"topics have {', '.join(fields) or 'no field'}, expected one of {', '.join(_QUERY_FIELDS)}"
        raise CollectionError(f"dataset {name!r} has no known query field", [problem])
    return topics[["qid", field]].rename(columns={field: "query"})


def _qrels(name: str, inner: Dataset) -> pd.DataFrame:
    frame = pd.DataFrame([record._asdict() for record in inner.qrels_iter()])
    if "relevance" not in frame:
        problem = f"qrels have {', '.join(map(str, frame.columns)) or 'no row'}, expected relevance"
        raise CollectionError(f"dataset {name!r} has no relevance labels", [problem])
    return frame.rename(columns={"query_id": "qid", "doc_id": "docno", "relevance": "label"})
