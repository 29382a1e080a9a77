"""Every cut-off vector of a grid, measured: effectiveness, cost, losses, Pareto front. The choice is made in choice."""
