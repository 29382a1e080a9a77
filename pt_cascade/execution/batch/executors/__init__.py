"""Where the shards of a run are run: in this process, in other processes, or by actors on a Ray cluster."""
