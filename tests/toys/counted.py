"""A collection of four documents that counts how often they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from pt_cascade.collections import Collection, make_collection

TEXTS = {"NA": "The cumulative sum.", "d1": "The running product,\nalong an axis.", "d2": "", "d3": "Sort in place."}
TOPICS = pd.DataFrame({"qid": ["1", "2"], "query": ["running total", "order"]})
QRELS = pd.DataFrame({"qid": ["1", "2"], "docno": ["NA", "d3"], "label": [1, 1]})


class Counted:
    """Documents that count how often they were read from the first."""

    def __init__(self, texts: Mapping[str, str] = TEXTS) -> None:
        """Keep them, unread."""
        self.texts = texts
        self.reads = 0

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Read them."""
        self.reads += 1
        yield from ({"docno": docno, "text": text} for docno, text in self.texts.items())

    def __len__(self) -> int:
        """Count them."""
        return len(self.texts)


def collection(texts: Mapping[str, str] = TEXTS, name: str = "toy") -> Collection:
    """Make a collection of a few documents."""
    return make_collection(name, TOPICS, QRELS, Counted(texts))
