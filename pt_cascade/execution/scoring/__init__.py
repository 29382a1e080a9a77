"""Scores every (query, document, stage) once, checks it, and resumes after a crash; ``analysis`` uses the scores."""
