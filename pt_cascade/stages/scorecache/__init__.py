"""The score cache: its SQLite file, its keys, and the scoring of missing pairs; ``cached`` is in ``stages/cached.py``."""
