"""Loads a Hugging Face model, runs it in token batches, and reads its outputs. Base classes of stages are in ``stages.base``."""
