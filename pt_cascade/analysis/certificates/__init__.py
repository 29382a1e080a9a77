"""Tests and bounds with a stated error rate, from each query's losses or times; which cut-offs they are of is not known here."""
