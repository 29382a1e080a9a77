"""Runs, times, compares and scores cascades: everything that runs models, reads clocks or writes files."""
