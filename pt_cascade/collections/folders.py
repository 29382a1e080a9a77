"""A collection in a folder, in one of two forms.

=================== ====================== =================================================== ===================================
this package        BEIR                   a line                                              rules
=================== ====================== =================================================== ===================================
docs.jsonl[.gz]     corpus.jsonl[.gz]      ``{"docno": "7", "title": "...", "text": "..."}``    ids once, no white space; title
                                                                                               optional; BEIR: ``_id`` for docno
topics.tsv          queries.jsonl[.gz]     ``qid<TAB>query``, ``{"_id": "7", "text": "..."}``   ids once; query not blank
qrels.txt           qrels/test.tsv         ``qid 0 docno label``, ``qid<TAB>docno<TAB>label``   labels whole; BEIR: with a header
language.txt        language.txt           ``french``                                          optional: of ``build_index``
=================== ====================== =================================================== ===================================

``./folder:train`` takes the judgments in ``qrels/train.tsv``. A document is its title and text (``join_title``); other keys are
ignored. Every line is checked when the folder is opened; the documents stay on disk.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pt_cascade.collections.collection import Collection, make_collection, unjudged
from pt_cascade.collections.records import read_documents, read_queries
from pt_cascade.errors import CascadeError, CollectionError, MissingError, did_you_mean, warn
from pt_cascade.trec import read_qrels, read_topics
from pt_cascade.trec.qrels import read_beir_qrels

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from pathlib import Path

    import pandas as pd


_DOCS = ("docs.jsonl.gz", "docs.jsonl", "corpus.jsonl.gz", "corpus.jsonl")
_LANGUAGE = "language.txt"
_FIX = 'a document is {"docno": "7", "text": "..."}, a topic is 7<TAB>query, a judgment is 7 0 docno 1'
_BEIR_FIX = 'a document or query is {"_id": "7", "text": "..."}, a judgment is 7<TAB>docno<TAB>1'
Part = TypeVar("Part")


def open_folder(path: Path) -> Collection:
    """Open a folder, as ``./folder:train`` with the judgments of a split, and check every line; all problems make one error."""
    stem, _, split = path.name.rpartition(":")
    folder, split = (path.with_name(stem), split) if stem and not path.is_dir() else (path, "")
    if not folder.is_dir():
        fix = f"a folder with {_DOCS[0]}, topics.tsv and qrels.txt, or a name such as irds:vaswani or pydocs"
        beside = [file.name for file in folder.parent.iterdir() if file.is_dir()] if folder.parent.is_dir() else []
        raise MissingError(f"there is no folder {path}{did_you_mean(folder.name, beside)}", fix=fix)
    files = [folder / name for name in _DOCS if (folder / name).is_file()]
    if len(files) != 1:
        found = " and ".join(file.name for file in files) or "none"
        problem = f"its documents are expected in one of {', '.join(_DOCS)}; found {found}"
        raise CollectionError(f"cannot open the collection {path}", [problem], fix=_FIX)
    beir, problems = files[0].name.startswith("corpus"), list[str]()
    fix = _BEIR_FIX if beir else _FIX
    documents = _part(files[0], partial(read_documents, key="_id" if beir else "docno"), problems)
    if beir:
        zipped = folder / "queries.jsonl.gz"
        topics = _part(zipped if zipped.is_file() else folder / "queries.jsonl", partial(read_queries, key="_id"), problems)
        judgments = folder / "qrels" / f"{split or 'test'}.tsv"
        if not judgments.is_file() and (splits := sorted(file.stem for file in judgments.parent.glob("*.tsv"))):
            fix = " or ".join(f'open_collection("{_name(folder)}:{other}")' for other in splits)
        qrels = _part(judgments, read_beir_qrels, problems)
    else:
        topics = _part(folder / "topics.tsv", read_topics, problems)
        qrels = _part(folder / "qrels.txt", read_qrels, problems)
        problems += [f"{split!r} is a split, which only a folder in BEIR's form has, with corpus.jsonl"] * bool(split)
    if topics is not None and qrels is not None and (problem := unjudged(topics, qrels)):
        problems.append(problem)
    written = folder / _LANGUAGE
    language = written.read_bytes().decode(errors="replace").strip() if written.is_file() else Collection.language
    if not language.isalpha():
        problems.append(f"{_LANGUAGE} holds {language!r:.60}, expected a language of build_index, e.g. french")
    if problems or documents is None or topics is None or qrels is None:
        raise CollectionError(f"cannot open the collection {path}", problems, fix=fix)
    _warn_unknown(path, topics, qrels, documents[1])
    return replace(make_collection(_name(path), topics, qrels, documents[0]), language=language)


def _warn_unknown(path: Path, topics: pd.DataFrame, qrels: pd.DataFrame, known: Container[str]) -> None:
    """Count the judgments whose query or document the folder does not have."""
    qids = sorted(set(qrels["qid"]) - set(topics["qid"]))
    docnos = [docno for docno in qrels["docno"].unique() if docno not in known]
    found = [
        f"{len(lacking):,} judged {one if len(lacking) == 1 else many} not among its {where}, e.g. {lacking[0]!r}"
        for lacking, one, many, where in (
            (qids, "query is", "queries are", "topics"),
            (docnos, "document is", "documents are", "documents"),
        )
        if lacking
    ]
    if found:
        warn(f"{path}: {'; '.join(found)}{': a relevant document that is missing counts as not found' * bool(docnos)}")


def _name(path: Path) -> str:
    """Return the name that opens a folder."""
    return str(path) if str(path).startswith(("/", ".", "~")) else f"./{path}"


def _part(path: Path, read: Callable[[Path], Part], problems: list[str]) -> Part | None:
    """Read one file; add what is wrong with it to ``problems``."""
    try:
        return read(path)
    except FileNotFoundError:
        problems.append(f"there is no file {path}")
    except CascadeError as error:
        problems += [f"{path.name}: {problem}" for problem in error.problems] or [error.what]
    return None
