"""The time and money that a cascade costs at any cut-offs. Stages are timed in execution/profiling.py."""
