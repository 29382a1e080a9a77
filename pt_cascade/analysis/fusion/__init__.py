"""Fuses the scores of several rankers into one ranking: normalised, pooled and summed. It does not import cascades."""
