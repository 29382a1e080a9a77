"""Any cut-off vector's rankings and measures, from a score table. Nothing is chosen here."""
