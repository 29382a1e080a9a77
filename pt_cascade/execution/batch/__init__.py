"""Runs over many queries into a folder: split into shards, resumed after a crash, by one process or several."""
