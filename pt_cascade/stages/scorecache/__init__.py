"""The score cache: its SQLite file, its keys, and asking a stage for what is missing; ``cached`` is in ``stages/cached.py``."""
