"""The built-in collection: the docstrings of installed Python packages, by default NumPy.

A **document** is the docstring of a public function, class or method without signature, first sentence and "See Also" section;
equal documents are one, under the name with the fewest dots. A **query** is a first sentence of three words or more that its
document does not contain. Every function with this first sentence has grade 2; functions in "See Also", at least one, have grade 1.
NumPy has about 640 queries; ``pydocs`` takes 200 by a hash of their qid, ``pydocs/all`` all. The qid is the docno.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.collections.collection import Collection, make_collection
from pt_cascade.collections.docstrings import parse_docstring
from pt_cascade.collections.packages import installed_packages, package_members
from pt_cascade.errors import CollectionError
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.collections.docstrings import Docstring
    from pt_cascade.collections.packages import Package

QUERIES = 200
_WORDS = 3
_TARGETS = 2  # with the function itself
_OWN, _SEE_ALSO = 2, 1


def pydocs(packages: Sequence[str] = ("numpy",), queries: int | None = QUERIES) -> Collection:
    """Build the collection of some packages, with at most so many queries, or all; no network is used."""
    found = installed_packages(packages)
    documents, named = _documents(found)
    topics, qrels = _judgments(documents, named, queries)
    kind = "pydocs/all" if queries is None else "pydocs" if queries == QUERIES else f"pydocs/{queries}"
    name = f"{kind}:{','.join(map(str, found))}"
    if topics.empty:
        problem = f"its {count_of(len(documents), 'document')} give no query, expected numpydoc docstrings with See Also sections"
        raise CollectionError(f"collection {name!r} cannot be evaluated", [problem], fix='open_collection("pydocs")')
    rows = [{"docno": docno, "text": parts.body} for docno, parts in sorted(documents.items())]
    return make_collection(name, topics, qrels, rows)


def _documents(packages: list[Package]) -> tuple[dict[str, Docstring], dict[str, str]]:
    """Return the documents by docno, and the docno of each public name."""
    documents: dict[str, Docstring] = {}
    named: dict[str, str] = {}
    by_text: dict[str, str] = {}
    members = [member for package in packages for member in package_members(package)]
    for member in sorted(members, key=lambda member: (member.name.count("."), len(member.name), member.name)):
        parts = parse_docstring(member.docstring)
        if not parts.body:
            continue
        docno = by_text.setdefault(parts.body, member.name)
        documents.setdefault(docno, parts)
        named |= {name: named.get(name, docno) for name in member.names}
    return documents, named


def _judgments(documents: dict[str, Docstring], named: dict[str, str], queries: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    shared: dict[str, list[str]] = defaultdict(list)
    for docno, parts in sorted(documents.items()):
        shared[parts.sentence].append(docno)
    asked: dict[str, str] = {}
    judged: dict[str, dict[str, int]] = {}
    for sentence, own in shared.items():
        others = {to for docno in own for to in _see_also(docno, documents[docno].see_also, named)} - set(own)
        if others and len(others) + len(own) >= _TARGETS and is_query(sentence, [documents[docno].body for docno in own]):
            asked[own[0]] = sentence
            judged[own[0]] = dict.fromkeys(sorted(others), _SEE_ALSO) | dict.fromkeys(own, _OWN)
    taken = sorted(sorted(asked, key=lambda qid: hashlib.sha256(qid.encode()).digest())[:queries])
    topics = pd.DataFrame({"qid": taken, "query": [asked[qid] for qid in taken]}, dtype=str)
    pairs = [(qid, docno, label) for qid in taken for docno, label in sorted(judged[qid].items())]
    return topics, pd.DataFrame(pairs, columns=["qid", "docno", "label"])


def is_query(sentence: str, texts: Sequence[str]) -> bool:
    """Whether a first sentence is a query: it has three words or more, and none of its documents contains it."""
    bare = sentence.rstrip(".").lower()
    enough = len(re.findall(r"\w+", sentence)) >= _WORDS
    return enough and not any(bare in " ".join(text.split()).lower() for text in texts)


def _see_also(docno: str, names: Sequence[str], named: dict[str, str]) -> set[str]:
    """Return the documents that "See Also" names, absolute or relative to the function's class, module or package."""
    parts = docno.split(".")
    scopes = ["", *(".".join(parts[:size]) + "." for size in range(len(parts) - 1, 0, -1))]
    found = (next((named[scope + name] for scope in scopes if scope + name in named), None) for name in names)
    return {target for target in found if target}
