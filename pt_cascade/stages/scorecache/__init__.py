"""Scores kept in SQLite, by what made them. The stage itself is stages/cached.py."""
