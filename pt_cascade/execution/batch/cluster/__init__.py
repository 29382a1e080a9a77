"""Shards on a Ray cluster: which resources the stages need, the actors that run them, and the executor that watches the actors."""
