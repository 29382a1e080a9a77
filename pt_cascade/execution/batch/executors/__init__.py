"""Where shards run: in this process, in others, on other machines. What a shard is, and its files, are not known here."""
