"""Prompts to an OpenAI-compatible server, its answers and their cost. The stage itself is stages/llm_judge.py."""
