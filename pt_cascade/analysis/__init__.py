"""Arithmetic only: score tables, replay, sweeps, costs and choices; no engine, no model, no clock."""
