"""Toys and helpers that several tests share; as a script, `python -m toys.NAME` in this folder's parent."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
