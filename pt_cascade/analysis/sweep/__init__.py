"""The effectiveness, cost, losses and Pareto front of every cut-off vector of a grid. The choice is made in choice."""
