"""Rankings and measures at any cut-off vector, from a score table. The choice is made in choice."""
