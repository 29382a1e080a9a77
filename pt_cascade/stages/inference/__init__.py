"""Hugging Face models: loaded, fed in batches measured in tokens, and their outputs read. What a stage is stands in base."""
