"""Ranking cascades on PyTerrier: compose, inspect, run and compare them."""
