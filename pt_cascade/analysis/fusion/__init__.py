"""Scores of several rankers as one ranking: normalised, pooled, added up. It knows nothing of cascades."""
