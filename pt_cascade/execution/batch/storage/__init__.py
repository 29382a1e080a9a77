"""The folder of a run on disk: manifest, locks, shards, attempts, results. Nothing here runs a cascade."""
