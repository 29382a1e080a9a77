"""Test collections: documents, topics and qrels under one name (``open_collection``)."""

from __future__ import annotations

from pt_cascade.collections.collection import Collection, Documents, make_collection
from pt_cascade.collections.opening import open_collection

__all__ = ["Collection", "Documents", "make_collection", "open_collection"]
