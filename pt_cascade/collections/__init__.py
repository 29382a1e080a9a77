"""Test collections: documents, topics and qrels under one name (``open_collection``)."""

from __future__ import annotations

from pt_cascade.checksums import build_once
from pt_cascade.collections.collection import Collection, Documents, make_collection
from pt_cascade.collections.folders import write_folder
from pt_cascade.collections.opening import open_collection
from pt_cascade.files import cache_folder

__all__ = ["Collection", "Documents", "build_once", "cache_folder", "make_collection", "open_collection", "write_folder"]
