"""Time and money of a cascade at any cut-offs. What is timed is measured in execution/profiling.py."""
