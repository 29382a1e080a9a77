"""Cascades and experiments in YAML files: their schema, how they run, and how their numbers are verified.

Nothing of a file is executed: stages are names and literal arguments.
"""
