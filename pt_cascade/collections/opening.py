"""Opens a collection by its name.

================= ================================================ ====================================================
form              example                                          what it is
================= ================================================ ====================================================
built in          ``pydocs``, ``pydocs/all:numpy,scipy``           the docstrings of installed packages
PyTerrier         ``irds:beir/scifact/test``, ``vaswani``          anything that ``pt.get_dataset`` knows
folder            ``./scifact``, ``./scifact:train``, a Path       docs.jsonl.gz, topics.tsv, qrels.txt; or BEIR's files
================= ================================================ ====================================================
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.collections.folders import open_folder
from pt_cascade.collections.irds import is_dataset, list_datasets, open_dataset
from pt_cascade.collections.pydocs import QUERIES, pydocs
from pt_cascade.errors import CollectionError, closest
from pt_cascade.files import to_path

if TYPE_CHECKING:
    import os

    from pt_cascade.collections.collection import Collection

_PYDOCS = re.compile(r"pydocs(?:/(?P<queries>all|[1-9][0-9]*))?(?::(?P<packages>[\w.=+,!-]+))?", re.ASCII)
_FORMS = (
    "the built-in collection: pydocs, or pydocs:numpy,scipy for other installed packages, pydocs/all for all queries",
    "a PyTerrier dataset: irds:beir/scifact/test, vaswani",
    "a folder with docs.jsonl.gz, topics.tsv and qrels.txt, or in BEIR's form, written as a path: ./scifact",
)


def open_collection(name: str | os.PathLike[str]) -> Collection:
    """Open a collection by its name: ``pydocs``, ``irds:beir/scifact/test`` or ``./scifact``.

    A folder is given as a Path, or as text that begins with ``.``, ``/`` or ``~`` or has a ``/`` and no ``:``.

    Args:
        name: Such a name, or a folder.

    Returns:
        The collection, checked.

    Raises:
        CollectionError: There is no such collection, or it is incomplete or inconsistent.
        MissingError: A folder or package is missing, or a dataset cannot be fetched.

    Example:
        >>> collection = open_collection("pydocs")
        >>> collection.name.startswith("pydocs:numpy=="), len(collection.judged(5))
        (True, 5)
    """
    if not isinstance(name, str):
        return open_folder(to_path(name))
    if built_in := _PYDOCS.fullmatch(name):
        asked = built_in["queries"] or str(QUERIES)
        return pydocs((built_in["packages"] or "numpy").split(","), None if asked == "all" else int(asked))
    if not re.match(r"pydocs([:/]|$)", name) and (name.startswith((".", "/", "~")) or ("/" in name and ":" not in name)):
        return open_folder(to_path(name))
    if name and is_dataset(name):
        return open_dataset(name)
    known = closest(name, ["pydocs", *list_datasets()]) or "pydocs"
    fix = f"./{name}" if name and Path(name).is_dir() else f'open_collection("{known}")'
    raise CollectionError(f"unknown collection {name!r}, expected one of three forms", _FORMS, fix=fix)
