"""A Hugging Face model loaded, fed in token batches, and read. What a stage of a cascade is lives in ``stages.base``."""
