"""The base classes of stages: re-rankers of rows or of pairs, their identity, and the texts that they read."""
